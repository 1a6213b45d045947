"""Rates in bits per pixel as functions of a rate parameter, for the tests of searches."""

import math
from collections.abc import Callable

Rate = Callable[[float], float]
TARGET = 0.15


def power(slope: float, at_one: float) -> Rate:
    return lambda value: at_one * value**slope


def staircase(rate: Rate, steps: float) -> Rate:
    """Real files come in whole bytes: the rate rounded up to multiples of 1 / steps."""
    return lambda value: math.ceil(rate(value) * steps) / steps


def with_header(rate: Rate, header: float) -> Rate:
    return lambda value: header + rate(value)
