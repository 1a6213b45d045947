"""The factorized prior of Balle, Laparra and Simoncelli (ICLR 2017, with the densities of Balle et al. 2018)."""

from typing import ClassVar

from components.codecs.families.transform import LearnedPriorCodec
from components.entropy.factorized_prior import FactorizedModel
from components.layers.balle2017 import gdn_transforms


class Factorized(LearnedPriorCodec):
    """
        x --4 convs 5x5, stride 2, GDN--> y (M at 1/16) --round--> a learned density for each channel --> bytes

    N, M: channels of the transforms and of the latents; the paper's are 128 and 192 at low rates.
    """

    name: ClassVar[str] = "factorized"
    stride = 16

    def __init__(self, N: int = 128, M: int = 192, gain_range: float = 0.0) -> None:
        super().__init__(N=N, M=M, gain_range=gain_range)
        self.latent_channels = M
        self.g_a, self.g_s = gdn_transforms(N, M)
        self.entropy = FactorizedModel(M, gain_range=gain_range)
