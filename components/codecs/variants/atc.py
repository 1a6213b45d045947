"""ATC: Cheng et al. 2020 with the simplified attention of paper 001."""

from typing import ClassVar

from components.codecs.families.cheng2020 import ResidualMixtureCodec


class Atc(ResidualMixtureCodec):
    """See the base class; with attention."""

    name: ClassVar[str] = "atc"
    paper_results: ClassVar[str] = "30.26 dB, MS-SSIM 0.983 at 0.560 bpp"
    attention: ClassVar[bool] = True
