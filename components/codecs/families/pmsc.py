"""The transforms of paper 000 for `pmsc` and `pmsc_hyper`."""

from typing import Any

import torch
from torch import Tensor, nn

from components.codecs.families.transform import LearnedPriorCodec
from components.codecs.tiling import in_tiles
from components.layers.haar_initialisation import haar_packet
from components.layers.importance import Importance
from components.layers.multiscale import PmscBlock
from components.layers.residual import downsampling_conv, upsampling_conv
from components.layers.wavelet_attention import WaveletAttention


class PyramidMultiscaleCodec(LearnedPriorCodec):
    """
        x --conv, stride 2--> --(conv, stride 2, PMSC, attention) x 3--> y0 (M at 1/16)
        y0 --one convolution, three residual blocks, softsign(tanh)--> m;  y = 2 m y0 --> bytes
        x_hat <--sub-pixel conv-- <--(sub-pixel conv, PMSC, attention) x 3-- y_hat

    Paper 000 gives the blocks and leaves their number, the widths, the strides and the rate open. Here four
    convolutions halve, as in most codecs, with a block after all but the first, where it would cost the most; in
    synthesis attention comes before the PMSC, as the paper has it. The loss is that of the codecs of paper 001, L = R +
    lmbda * 255^2 * MSE with R the bits of noisy latents under a learned prior (Balle et al. 2017, whom the paper
    cites): without R nothing tells the importance map what a bit is worth, and MSE alone has no rate parameter.

    N: channels. M: latents, with as many in the blocks at 1/16. Both are multiples of 4, the groups of a PMSC.
    """

    def __init__(self, N: int, M: int, hyperparameters: dict[str, Any]) -> None:
        super().__init__(**hyperparameters)
        self.latent_channels = M
        stages = haar_packet((N, N, N, M))
        widths = (3, N, N, N, M)
        inward: list[nn.Module] = []
        outward: list[nn.Module] = []
        for number, stage in enumerate(stages):
            coarse, fine = widths[number + 1], widths[number]
            block, mirrored = _blocks(coarse) if number else ([], [])
            inward += [downsampling_conv(fine, coarse, stage), *block]
            outward = [*mirrored, upsampling_conv(coarse, fine, stage), *outward]
        self.g_a = nn.Sequential(*inward)
        self.g_s = nn.Sequential(*outward)
        self.importance = Importance(M)

    def analyse(self, x: Tensor) -> Tensor:
        """The latents, each as large as it is important."""
        y = self.g_a(2 * x - 1)
        masked: Tensor = self.latent_scale * self.importance(y) * y
        return masked

    def latent_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Also the importance map, the mean of its size over the channels."""

        def importance(padded: Tensor) -> Tensor:
            map_: Tensor = self.importance(self.g_a(2 * padded - 1))
            return map_.abs().mean(dim=1, keepdim=True)

        with torch.inference_mode():
            found = in_tiles(importance, self.pad(x), 1 / self.latent_stride, self.tile, self.halo)
        return {**super().latent_maps(x), "importance": found[0, 0]}


def _blocks(channels: int) -> tuple[list[nn.Module], list[nn.Module]]:
    """What follows a halving, and what precedes the doubling that mirrors it."""
    return (
        [PmscBlock(channels), WaveletAttention(channels)],
        [WaveletAttention(channels), PmscBlock(channels)],
    )
