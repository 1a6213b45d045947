"""The family of "Wavelet attention" (paper 000): PMSC blocks, wavelet attention and an importance map.

H. V. Nandi and G. Gandhi, "Image Compression at Multiple Scales Using Wavelet-Based Attention Mechanisms", B.Tech
project report, IIT Jodhpur, 2024.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ...layers.haar_initialisation import haar_packet
from ...layers.importance import Importance
from ...layers.multiscale import PmscBlock
from ...layers.residual import downsampling_conv, upsampling_conv
from ...layers.wavelet import HAAR_NAMES
from ...layers.wavelet_attention import WaveletAttention
from ..tiling import in_tiles
from .transform import LearnedPriorCodec


class PyramidMultiscaleCodec(LearnedPriorCodec):
    """Pyramid multi-scale convolutions (PMSC) with wavelet attention, and latents weighted by an importance map.

        x --conv, stride 2--> --(conv, stride 2, PMSC, attention) x 3--> y0 (M at 1/16)                   g_a
        y0 --conv, three residual blocks, softsign(tanh)--> m;   y = 2 m y0 --entropy model--> y_hat, bytes
        x_hat <--sub-pixel conv-- <--(sub-pixel conv, PMSC, attention) x 3-- y_hat                        g_s

    Of the paper: the PMSC block, the attention and the importance map. It leaves their number, the widths, the strides
    and the rate open. Chosen here: four convolutions halve, with a block after all but the first, where it would cost
    the most. In synthesis attention comes before the PMSC, as in the paper.

    Departure: the paper trains for MSE alone, which has no rate parameter and gives the importance map no price of a
    bit. Here L = R + lmbda * 255^2 * MSE, with R the bits of noisy latents under a learned prior, as in Ballé et al.
    2017, which the paper cites.

    Args:
        N: channels, a multiple of 4 (the groups of a PMSC).
        M: channels of the latents and of the blocks at 1/16, a multiple of 4.
        wavelet: of the attention, an orthogonal or biorthogonal one of PyWavelets.
        hyperparameters: the others of the subclass, stored in checkpoints.
    """

    def __init__(self, N: int, M: int, wavelet: str, hyperparameters: dict[str, Any]) -> None:
        # Checkpoints from before `wavelet` keep the hash that their streams name.
        named = {} if wavelet in HAAR_NAMES else {"wavelet": wavelet}
        super().__init__(N=N, M=M, **hyperparameters, **named)
        self.latent_channels = M
        stages = haar_packet((N, N, N, M))
        widths = (3, N, N, N, M)
        analysis: list[nn.Module] = []
        synthesis: list[nn.Module] = []
        for number, stage in enumerate(stages):
            coarse, fine = widths[number + 1], widths[number]
            block, mirrored = _blocks(coarse, wavelet) if number else ([], [])
            analysis += [downsampling_conv(fine, coarse, stage), *block]
            synthesis = [*mirrored, upsampling_conv(coarse, fine, stage), *synthesis]
        self.g_a = nn.Sequential(*analysis)
        self.g_s = nn.Sequential(*synthesis)
        self.importance = Importance(M)

    def analyse(self, x: Tensor) -> Tensor:
        """Latents y, weighted by their importance map."""
        y = self.g_a(2 * x - 1)
        masked: Tensor = self.latent_scale * self.importance(y) * y
        return masked

    def latent_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Also `importance`: the mean over the channels of the map's absolute values."""

        def importance(padded: Tensor) -> Tensor:
            map_: Tensor = self.importance(self.g_a(2 * padded - 1))
            return map_.abs().mean(dim=1, keepdim=True)

        with torch.inference_mode():
            found = in_tiles(importance, self.pad(x), 1 / self.latent_stride, self.tile, self.halo)
        return {**super().latent_maps(x), "importance": found[0, 0]}


def _blocks(channels: int, wavelet: str) -> tuple[list[nn.Module], list[nn.Module]]:
    """The modules that follow a strided convolution, and those that precede its mirror."""
    return (
        [PmscBlock(channels), WaveletAttention(channels, wavelet)],
        [WaveletAttention(channels, wavelet), PmscBlock(channels)],
    )
