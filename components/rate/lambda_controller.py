"""Adjustment of lambda to a target rate while training runs."""

import math
from dataclasses import dataclass

RATE_LAMBDA_SLOPE = 0.55
"""d log(bpp) / d log(lambda); CompressAI's published tables of five models have 0.4 to 0.8."""

_DAMPING = 0.5  # share of the correction made at once: the rate follows lambda with a delay
_LARGEST_STEP = math.log(2)


@dataclass
class LambdaController:
    """An integral controller on log(lambda).

    target_bpp: bits per pixel of real bitstreams.
    lmbda: the present value.
    raises_rate: whether a larger lambda gives more bits.
    """

    target_bpp: float
    lmbda: float
    raises_rate: bool

    def update(self, bpp: float) -> float:
        """Adjust lambda, by at most a factor of two, to the measured rate `bpp`, and return it."""
        excess = math.log(bpp / self.target_bpp)
        step = max(-_LARGEST_STEP, min(_LARGEST_STEP, _DAMPING * excess / RATE_LAMBDA_SLOPE))
        self.lmbda *= math.exp(-step if self.raises_rate else step)
        return self.lmbda
