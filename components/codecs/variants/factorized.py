"""Factorized prior: GDN transforms and one learned density for each channel (Ballé et al. 2017 and 2018)."""

from typing import ClassVar

from ...entropy.factorized_model import FactorizedModel
from ...layers.balle2017 import gdn_transforms
from ..families.transform import LearnedPriorCodec


class Factorized(LearnedPriorCodec):
    """The factorized-prior codec that "Trit-plane and attention" (paper 001; Fang et al. 2024) compares with.

        x --4 convs 5x5, stride 2, GDN--> y (M at 1/16)                                     g_a
        y --round--> y_hat --a learned density for each channel--> range coder --> bytes
        x_hat <--mirrored, inverse GDN-- y_hat                                              g_s

    J. Ballé, V. Laparra and E. P. Simoncelli, "End-to-end optimized image compression", ICLR 2017. The densities are
    those of J. Ballé, D. Minnen, S. Singh, S. J. Hwang and N. Johnston, "Variational image compression with a scale
    hyperprior", ICLR 2018. Loss: see the base class.

    Args:
        N: channels of the transforms; the paper has 128 at low rates.
        M: channels of the latents; the paper has 192 at low rates.
        gain_range: training draws the logarithm of each picture's gain from -gain_range to gain_range.
    """

    name: ClassVar[str] = "factorized"
    stride = 16

    def __init__(self, N: int = 128, M: int = 192, gain_range: float = 0.0) -> None:
        super().__init__(N=N, M=M, gain_range=gain_range)
        self.latent_channels = M
        self.g_a, self.g_s = gdn_transforms(N, M)
        self.entropy = FactorizedModel(M, gain_range=gain_range)
