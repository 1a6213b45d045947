"""PMSC with a hyperprior: what paper 000 names as future work."""

from typing import ClassVar

from components.codecs.families.pmsc import PyramidMultiscaleCodec
from components.entropy.hyperprior import HyperPrior


class PmscHyper(PyramidMultiscaleCodec):
    """
        y --h_a--> z --h_s--> mean and scale of each element of y --> bytes

    See the base class for the transforms and the loss. Channels that are zero need no flags: the hyperprior gives
    them scales at which a zero is all but free.
    """

    name: ClassVar[str] = "pmsc_hyper"

    def __init__(self, N: int = 96, M: int = 192, gain_range: float = 0.0) -> None:
        super().__init__(N, M, {"N": N, "M": M, "gain_range": gain_range})
        self.entropy = HyperPrior(M, hyper_channels=N, features=2 * M, gain_range=gain_range)
