"""Cheng et al. 2020 without attention: the baseline of paper 001."""

from typing import ClassVar

from components.codecs.families.cheng2020 import ResidualMixtureCodec


class Gmm(ResidualMixtureCodec):
    """See the base class; without attention."""

    name: ClassVar[str] = "gmm"
    paper_results: ClassVar[str] = "29.88 dB, MS-SSIM 0.981 at 0.756 bpp"
    attention: ClassVar[bool] = False
