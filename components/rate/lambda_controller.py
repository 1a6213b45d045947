"""RateTarget lambda to a target rate while training runs."""

import math
from dataclasses import dataclass

# d log(bpp) / d log(lambda) lies between 0.4 and 0.8 in published tables (CompressAI's, five models).
TYPICAL_SLOPE = 0.55
_CAUTION = 0.5  # the rate follows lambda with a delay: half of the correction at a time
_LARGEST_STEP = math.log(2)


@dataclass
class LambdaController:
    """An integral controller on log(lambda): each measured rate moves lambda by what the typical slope asks.

    target_bpp: bits per pixel of real bitstreams.
    lmbda: the current value.
    raises_rate: whether a larger lambda gives more bits.
    """

    target_bpp: float
    lmbda: float
    raises_rate: bool

    def update(self, bpp: float) -> float:
        """The lambda to go on with after `bpp` was measured; at most a factor of two from the last."""
        excess = math.log(bpp / self.target_bpp)
        step = max(-_LARGEST_STEP, min(_LARGEST_STEP, _CAUTION * excess / TYPICAL_SLOPE))
        self.lmbda *= math.exp(-step if self.raises_rate else step)
        return self.lmbda
