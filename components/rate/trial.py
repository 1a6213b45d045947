"""The record of one evaluation in a rate search."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """A value of a rate parameter (a lambda, a gain or an operating point), and the real rate that it gave.

    value: in the parameter's own unit. bpp: bits per pixel of real bitstreams.
    """

    value: float
    bpp: float
