"""haar_hyper: a Haar front end, all else at 1/8 and 1/16; the best picture for each multiplication."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from ...entropy.context import CheckerboardContext, HierarchicalContext
from ...entropy.hyperprior import HyperPrior
from ...layers.haar import block_dwt, block_idwt
from ...layers.haar_initialisation import opponent_colours
from ...layers.residual import Residual
from ..families.transform import LearnedPriorCodec

BANDS = 192  # three colours in 8x8 blocks
_LUMA_SHARE = 0.75  # of the latents, at the start
_CONTEXT_FEATURES = 64  # of the hierarchical context


class Depthwise(nn.Conv2d):
    """A depthwise 5x5 convolution in float32: on CPUs its gradient takes three times as long in bfloat16."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, 5, padding=2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, float32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class Separable(nn.Module):
    """A residual block: a depthwise 5x5 convolution, then two 1x1 with a LeakyReLU between them."""

    def __init__(self, channels: int, expansion: int = 2):
        super().__init__()
        self.body = Residual(
            nn.Sequential(
                Depthwise(channels),
                nn.Conv2d(channels, expansion * channels, 1),
                nn.LeakyReLU(inplace=True),
                nn.Conv2d(expansion * channels, channels, 1),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        out: Tensor = self.body(x)
        return out


class HaarAnalysis(nn.Module):
    """(B, 3, H, W) to (B, M, H/16, W/16): a linear map of 16x16 blocks plus the output of a network."""

    def __init__(self, fine: int, coarse: int, latents: int, depths: tuple[int, int]):
        super().__init__()
        self.shortcut = nn.Conv2d(4 * BANDS, latents, 1)
        self.inward = nn.Conv2d(BANDS, fine, 1)
        self.fine = nn.Sequential(*(Separable(fine) for _ in range(depths[0])))
        self.down = nn.Conv2d(4 * fine, coarse, 1)
        self.coarse = nn.Sequential(*(Separable(coarse) for _ in range(depths[1])))
        self.outward = nn.Conv2d(coarse, latents, 1)

    def forward(self, x: Tensor) -> Tensor:
        """H and W are multiples of 16."""
        bands = block_dwt(x)
        code = self.coarse(self.down(pixel_unshuffle(self.fine(self.inward(bands)), 2)))
        out: Tensor = self.shortcut(pixel_unshuffle(bands, 2)) + self.outward(code)
        return out


class HaarSynthesis(nn.Module):
    """The mirror of HaarAnalysis."""

    def __init__(self, fine: int, coarse: int, latents: int, depths: tuple[int, int]):
        super().__init__()
        self.shortcut = nn.Conv2d(latents, 4 * BANDS, 1)
        self.inward = nn.Conv2d(latents, coarse, 1)
        self.coarse = nn.Sequential(*(Separable(coarse) for _ in range(depths[1])))
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.fine = nn.Sequential(*(Separable(fine) for _ in range(depths[0])))
        self.outward = nn.Conv2d(fine, BANDS, 1)

    def forward(self, y: Tensor) -> Tensor:
        """(B, M, h, w) to (B, 3, 16h, 16w)."""
        code = self.fine(pixel_shuffle(self.up(self.coarse(self.inward(y))), 2))
        bands = pixel_shuffle(self.shortcut(y), 2) + self.outward(code)
        return block_idwt(bands.float())


class HaarHyper(LearnedPriorCodec):
    """The project's own codec: a Haar front end, light residual blocks at 1/8 and 1/16, a hyperprior with context.

        x --Haar, 3 levels--> 192 bands at 1/8 --blocks--> --down--> blocks at 1/16 --+--> y (M at 1/16)        g_a
                                               \\------------ 1x1, linear ------------/
        y --h_a--> z (N at 1/64) --round--> z_hat --h_s--> psi
        psi, context --> mean and scale of each element of y --> range coder --> bytes
        x_hat <-- the mirror of g_a -- y_hat                                                                     g_s

    It joins the wavelet front ends of Wavelet CAE (paper 004; Akyazi and Ebrahimi 2019) and "Wavelet attention" (paper
    000; Nandi and Gandhi 2024). The linear shortcut is the idea of AuxT (arXiv 2501.13751). It starts as the 16x16
    discrete cosine transform of luma and two chromas, lowest frequencies first, and the branch beside it at zero, so
    that training starts from a working transform codec. Loss: see the base class. The decoder stays below 10 kMAC per
    pixel. A drawing, such as a page of text, gets a palette where that costs less.

    Args:
        fine: channels of the blocks at 1/8.
        coarse: channels of the blocks at 1/16.
        M: channels of the latents.
        N: channels of the hyper-latents.
        depths: number of blocks at 1/8 and at 1/16.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range, or from a pair
            of ends.
        context: the context model of the latents: two passes, or five from coarse to fine.
        groups: channels of the latents that are coded at once, group after group; none for all together.
    """

    name: ClassVar[str] = "haar_hyper"
    palettes: ClassVar[bool] = True
    latent_scale: ClassVar[float] = 2.0

    def __init__(
        self,
        fine: int = 96,
        coarse: int = 192,
        M: int = 128,
        N: int = 64,
        depths: tuple[int, int] = (2, 3),
        gain_range: float | tuple[float, float] = 0.0,
        context: Literal["checkerboard", "hierarchical"] = "checkerboard",
        groups: Sequence[int] = (),
    ) -> None:
        # Checkpoints from before `context` and `groups` keep the hash that their streams name.
        named: dict[str, Any] = {} if context == "checkerboard" else {"context": context}
        if groups:
            named["groups"] = list(groups)
        super().__init__(fine=fine, coarse=coarse, M=M, N=N, depths=list(depths), gain_range=gain_range, **named)
        self.latent_channels = M
        self.g_a: HaarAnalysis = HaarAnalysis(fine, coarse, M, depths)
        self.g_s: HaarSynthesis = HaarSynthesis(fine, coarse, M, depths)
        self.entropy = HyperPrior(
            M,
            hyper_channels=N,
            features=M,
            context=(
                partial(CheckerboardContext, features=M, kernel=3)
                if context == "checkerboard"
                else partial(HierarchicalContext, features=_CONTEXT_FEATURES)
            ),
            groups=groups,
            gain_range=gain_range,
        )
        self._start_as_cosine_transform(M)

    @torch.no_grad()
    def _start_as_cosine_transform(self, latents: int) -> None:
        basis = pixel_unshuffle(block_dwt(cosine_basis(latents)), 2).flatten(1)  # (M, 768)
        self.g_a.shortcut.weight.copy_(basis[:, :, None, None])
        self.g_s.shortcut.weight.copy_(basis.t()[:, :, None, None])
        for layer in (self.g_a.shortcut, self.g_s.shortcut, self.g_a.outward, self.g_s.outward):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for layer in (self.g_a.outward, self.g_s.outward):
            layer.weight.zero_()


def cosine_basis(count: int, side: int = 16) -> Tensor:
    """(count, 3, side, side): orthonormal cosine functions of luma and two chromas, the lowest frequencies of each."""
    positions = torch.arange(side, dtype=torch.float64) + 0.5
    waves = torch.cos(math.pi / side * torch.arange(side)[:, None] * positions) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    colours = opponent_colours().double()
    order = sorted(((u, v) for u in range(side) for v in range(side)), key=lambda uv: (uv[0] ** 2 + uv[1] ** 2, uv))
    luma = round(_LUMA_SHARE * count)
    chroma = count - luma
    counts = (luma, chroma - chroma // 2, chroma // 2)
    return torch.stack(
        [
            colour[:, None, None] * waves[u][:, None] * waves[v]
            for colour, amount in zip(colours, counts, strict=True)
            for u, v in order[:amount]
        ]
    ).float()
