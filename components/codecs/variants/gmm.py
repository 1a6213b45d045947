"""Cheng et al. 2020 without attention: the baseline of paper 001."""

from typing import ClassVar

from components.codecs.residual_mixture import ResidualMixtureCodec


class Gmm(ResidualMixtureCodec):
    """See the base class; without attention."""

    name: ClassVar[str] = "gmm"
    attention: ClassVar[bool] = False
