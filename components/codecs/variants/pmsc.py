"""PMSC: multi-scale blocks, wavelet attention and an importance map (paper 000)."""

from typing import ClassVar

from components.codecs.families.pmsc import PyramidMultiscaleCodec
from components.entropy.factorized_prior import FactorizedModel


class Pmsc(PyramidMultiscaleCodec):
    """
        y --round--> flags of the channels that are not zero --> a learned density for each of them --> bytes

    See the base class for the transforms and the loss. The rate that training sees has no flags: it counts every
    channel, and what a stream leaves out is a gain on top.
    """

    name: ClassVar[str] = "pmsc"
    paper_results: ClassVar[str] = "Kodak: 28.4 dB, SSIM 0.66; no rate is given"
    stride = 32

    def __init__(self, N: int = 96, M: int = 192, gain_range: float = 0.0) -> None:
        super().__init__(N, M, {"N": N, "M": M, "gain_range": gain_range})
        self.entropy = FactorizedModel(M, gain_range=gain_range, channel_flags=True)
