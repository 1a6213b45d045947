"""WCAE: the wavelet autoencoder of Akyazi and Ebrahimi (paper 004, CLIC 2019)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from components.codecs.families.gaussian_autoencoder import GaussianAutoencoder
from components.layers.branch import branches
from components.layers.haar import dwt, idwt
from components.layers.haar_initialisation import PIXELS, Band

DETAILS = tuple(Band(u, v, colour) for u, v in ((1, 0), (0, 1), (1, 1)) for colour in range(3))
"""What `dwt` calls details, in its order."""

# Inputs and stride-2 steps of each branch, from the finest scale (1/2) to the coarsest (1/8, with its low band).
BRANCHES = ((DETAILS, 4), (DETAILS, 3), (PIXELS + DETAILS, 2))

# The low band of three orthonormal levels spans [-8, 8]; divided by this it is as large as the details.
LOW_BAND_SCALE = 4.0


class WaveletAnalysis(nn.Module):
    """Three Haar levels, one branch for each: (B, 3, H, W) to (B, 96, H/32, W/32)."""

    def __init__(self, branches: list[nn.Sequential]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """H and W are multiples of 32."""
        low, fine = dwt(x)
        low, middle = dwt(low)
        low, coarse = dwt(low)
        bands = (fine, middle, torch.cat((low / LOW_BAND_SCALE, coarse), dim=1))
        return torch.cat([branch(band) for branch, band in zip(self.branches, bands, strict=True)], dim=1)


class WaveletSynthesis(nn.Module):
    """The mirror: (B, 96, h, w) to (B, 3, 32h, 32w)."""

    def __init__(self, branches: list[nn.Sequential]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, y: Tensor) -> Tensor:
        """One third of the code for each branch, then three inverse Haar levels."""
        parts = y.chunk(len(self.branches), dim=1)
        # The low band spans [-8, 8] in the end: bfloat16 would round it by more than a grey level.
        fine, middle, coarse = (branch(part).float() for branch, part in zip(self.branches, parts, strict=True))
        low, coarse = coarse.split((3, 9), dim=1)
        return idwt(idwt(idwt(low * LOW_BAND_SCALE, coarse), middle), fine)


class Wcae(GaussianAutoencoder):
    """
        x --dwt--> fine 1/2 (9) ---- 5 convs, 4 steps --> 32 at 1/32 \\
             --dwt--> middle 1/4 (9) 5 convs, 3 steps --> 32 at 1/32  +--> y (96 at 1/32)
                --dwt--> 1/8 (12) -- 5 convs, 2 steps --> 32 at 1/32 /
        x_hat <-- idwt <-- mirrored branches <-- y_hat

    254,526 parameters, the paper counts 256,606. Its text fixes 3x3 convolutions, GDN between them, inputs,
    steps, 32 outputs, a width that doubles once, and a "fifth convolutional layer"; which layer doubles, where
    the steps lie and whether the code passes a last GDN (+3,168) are left open. Here widths are 16, 32, 32, 32,
    32, and the convolutions without a step work at 1/8.

    Departures: pictures are padded by replication, not with zeros; the code's minimum and cumulative table are
    sent as each channel's mean and scale, which name a static integer table (an exact and shorter form).
    """

    name: ClassVar[str] = "wcae"
    paper_results: ClassVar[str] = (
        "CLIC 2019 validation: 25.61 dB, MS-SSIM 0.8965 at 0.143 bpp; test: 23.85 dB, 0.8817 at 0.138 bpp"
    )
    stride = 32
    latent_stride = 32

    def __init__(self) -> None:
        super().__init__(96)
        pairs = [branches(bands, steps) for bands, steps in BRANCHES]
        self.g_a = WaveletAnalysis([analysis for analysis, _ in pairs])
        self.g_s = WaveletSynthesis([synthesis for _, synthesis in pairs])
