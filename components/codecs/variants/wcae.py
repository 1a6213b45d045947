"""WCAE, Wavelet CAE: a convolutional autoencoder on three wavelet scales (paper 004; Akyazi and Ebrahimi 2019)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from ...layers.branch import branches
from ...layers.haar_initialisation import PIXELS, Band
from ...layers.wavelet import HAAR_NAMES, Wavelet
from ..bitstream import MAX_SIDE
from ..families.gaussian_autoencoder import GaussianAutoencoder

DETAILS = tuple(Band(u, v, colour) for u, v in ((1, 0), (0, 1), (1, 1)) for colour in range(3))
"""The detail bands of one wavelet level, in the order of `Wavelet.dwt`."""

# Inputs and stride-2 steps of each branch, from the finest scale (1/2) to the coarsest (1/8, with its low band).
BRANCHES = ((DETAILS, 4), (DETAILS, 3), (PIXELS + DETAILS, 2))

# The low band of three levels spans [-8, 8]; divided by this it is as large as the details.
LOW_BAND_SCALE = 4.0


class WaveletAnalysis(nn.Module):
    """Three wavelet levels, one branch for each: (B, 3, H, W) to (B, 96, H/32, W/32)."""

    def __init__(self, branches: list[nn.Sequential], wavelet: Wavelet) -> None:
        super().__init__()
        self.wavelet = wavelet
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """H and W are multiples of 32."""
        low, fine = self.wavelet.dwt(x)
        low, middle = self.wavelet.dwt(low)
        low, coarse = self.wavelet.dwt(low)
        bands = (fine, middle, torch.cat((low / LOW_BAND_SCALE, coarse), dim=1))
        return torch.cat([branch(band) for branch, band in zip(self.branches, bands, strict=True)], dim=1)


class WaveletSynthesis(nn.Module):
    """The mirror of WaveletAnalysis: (B, 96, h, w) to (B, 3, 32h, 32w)."""

    def __init__(self, branches: list[nn.Sequential], wavelet: Wavelet) -> None:
        super().__init__()
        self.wavelet = wavelet
        self.branches = nn.ModuleList(branches)

    def forward(self, y: Tensor) -> Tensor:
        """One third of the code for each branch, then three inverse wavelet levels."""
        parts = y.chunk(len(self.branches), dim=1)
        # In float32: the low band spans [-8, 8], where bfloat16 rounds by more than a grey level.
        fine, middle, coarse = (branch(part).float() for branch, part in zip(self.branches, parts, strict=True))
        low, coarse = coarse.split((3, 9), dim=1)
        x: Tensor = low * LOW_BAND_SCALE
        for details in (coarse, middle, fine):
            x = self.wavelet.idwt(x, details)
        return x


class Wcae(GaussianAutoencoder):
    """Wavelet CAE: one branch of convolutions for each of three wavelet scales.

        x --dwt--> details at 1/2 (9) ------- 5 convs, 4 stride 2 --> 32 at 1/32 \\
             --dwt--> details at 1/4 (9) ---- 5 convs, 3 stride 2 --> 32 at 1/32  +--> y (96 at 1/32)      g_a
                --dwt--> all bands at 1/8 (12) 5 convs, 2 stride 2 --> 32 at 1/32 /
        y --round--> y_hat --Gaussian of each channel--> range coder --> bytes
        x_hat <--idwt x 3-- mirrored branches <-- y_hat                                                    g_s

    P. Akyazi and T. Ebrahimi, "Learning-Based Image Compression using Convolutional Autoencoder and Wavelet
    Decomposition", CVPR Workshops (CLIC) 2019. Loss: see the base class.

    254,526 parameters, where the paper counts 256,606. Of the paper: 3x3 convolutions with GDN between them, inputs,
    steps, 32 outputs, a width that doubles once, and a "fifth convolutional layer". It leaves open which layer doubles,
    where the steps lie and whether the code passes a last GDN (3,168 more). Chosen here: widths 16, 32, 32, 32, 32, and
    the convolutions without a step work at 1/8.

    Departures: pictures are padded by replication, not with zeros. The paper sends the code's minimum and cumulative
    table; here each channel's mean and scale name a static integer table, which is exact and shorter.

    The branches start as a Haar wavelet packet of the bands of any wavelet: 3x3 convolutions hold no longer filters.

    Args:
        wavelet: an orthogonal or biorthogonal one of PyWavelets; `haar` is the paper's. Large pictures go through one
            without symmetric filters in one piece instead of tiles, because it joins opposite edges.
    """

    name: ClassVar[str] = "wcae"
    paper_results: ClassVar[str] = (
        "CLIC 2019 validation: 25.61 dB, MS-SSIM 0.8965 at 0.143 bpp; test: 23.85 dB, 0.8817 at 0.138 bpp"
    )
    stride = 32
    latent_stride = 32

    def __init__(self, wavelet: str = "haar") -> None:
        # Checkpoints from before `wavelet` keep the hash that their streams name.
        super().__init__(96, **({} if wavelet in HAAR_NAMES else {"wavelet": wavelet}))
        transform = Wavelet(wavelet)
        if not transform.is_local:
            self.tile = MAX_SIDE
        pairs = [branches(bands, steps) for bands, steps in BRANCHES]
        self.g_a = WaveletAnalysis([analysis for analysis, _ in pairs], transform)
        self.g_s = WaveletSynthesis([synthesis for _, synthesis in pairs], transform)
