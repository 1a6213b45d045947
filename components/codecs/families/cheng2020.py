"""The family of Cheng et al. 2020, for `gmm`, `atc` and `atc_progressive`.

Z. Cheng, H. Sun, M. Takeuchi and J. Katto, "Learned Image Compression with Discretized Gaussian Mixture Likelihoods and
Attention Modules", CVPR 2020.
"""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from ...entropy.context import CheckerboardContext
from ...entropy.hyperprior import HyperPrior
from ...layers.haar_initialisation import haar_packet
from ...layers.residual import (
    SimplifiedAttention,
    downsampling_conv,
    residual_block,
    residual_down,
    residual_up,
    upsampling_conv,
)
from .transform import LearnedPriorCodec

COMPONENTS = 3


class ResidualCodec(LearnedPriorCodec):
    """The transforms of Cheng et al. 2020: residual blocks, strided convolutions and sub-pixel upsampling.

        x --down, block, down, block, down, block, conv stride 2--> y (M at 1/16)            g_a
        x_hat <--sub-pixel convolution, (block, up) x 3, block-- y_hat                       g_s

    A subclass gives the entropy model. With attention, a module follows the second halving and the last, and precedes
    their mirrors in g_s.

    Departures: shortcuts of upsampling blocks are 1x1 convolutions; the hyper-transforms are shorter.

    Args:
        N: channels; Cheng et al. take 128 at low rates and 192 at high ones.
        M: channels of the latents; Cheng et al. take N.
        hyperparameters: those of the subclass, stored in checkpoints.
    """

    attention: ClassVar[bool]

    def __init__(self, N: int, M: int, hyperparameters: dict[str, Any]) -> None:
        super().__init__(**hyperparameters)
        self.latent_channels = M
        first, second, third, fourth = haar_packet((N, N, N, M))
        self.g_a = nn.Sequential(
            residual_down(3, N, first),
            residual_block(N),
            residual_down(N, N, second),
            *self._attention(N),
            residual_block(N),
            residual_down(N, N, third),
            residual_block(N),
            downsampling_conv(N, M, fourth),
            *self._attention(M),
        )
        self.g_s = nn.Sequential(
            *self._attention(M),
            residual_block(M),
            residual_up(M, N, fourth),
            residual_block(N),
            residual_up(N, N, third),
            *self._attention(N),
            residual_block(N),
            residual_up(N, N, second),
            residual_block(N),
            upsampling_conv(N, 3, first),
        )

    def _attention(self, channels: int) -> list[nn.Module]:
        return [SimplifiedAttention(channels)] if self.attention else []


class ResidualMixtureCodec(ResidualCodec):
    """The codec of Cheng et al. 2020: residual transforms and a mixture of three Gaussians for each latent.

        y --h_a--> z --round--> z_hat --h_s--> psi
        psi, checkerboard context --> mixture of three Gaussians for each element of y --> range coder --> bytes

    Departure: the context is a checkerboard's (He et al. 2021) instead of a raster's, so that decoding takes two passes
    instead of one for each latent.

    Args:
        N: channels of the transforms and of the latents.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range.
    """

    def __init__(self, N: int = 128, gain_range: float = 0.0) -> None:
        super().__init__(N, N, {"N": N, "gain_range": gain_range})
        self.entropy = HyperPrior(
            N,
            hyper_channels=N,
            features=2 * N,
            context=partial(CheckerboardContext, features=2 * N, kernel=5),
            components=COMPONENTS,
            gain_range=gain_range,
        )
