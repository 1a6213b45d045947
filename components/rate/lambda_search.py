"""Search for the lambda whose trained codec comes close to a target rate."""

import math
from collections.abc import Callable

from .lambda_controller import RATE_LAMBDA_SLOPE
from .trial import Trial

_LARGEST_STEP = math.log(4)


def search_lambda(
    rate_of: Callable[[float], float],
    first: Trial,
    target_bpp: float,
    *,
    raises_rate: bool,
    rounds: int,
    close_enough: float,
) -> list[Trial]:
    """Search over lambda by secant steps of log(bpp) over log(lambda), each by at most a factor of four.

    The usual cost is none to two evaluations of `rate_of`, since training has adjusted lambda already.

    Args:
        rate_of: trains for a while at a lambda and measures bits per pixel of real bitstreams: expensive.
        first: lambda and rate of the trained codec.
        target_bpp: the target rate.
        raises_rate: whether a larger lambda gives more bits.
        rounds: largest number of evaluations.
        close_enough: the search ends at |log(bpp / target)| up to this, where the quantiser step does the rest.

    Returns:
        `first` and the evaluations in their order; the last one is the result.
    """
    trials = [first]
    for _ in range(rounds):
        latest = trials[-1]
        if abs(math.log(latest.bpp / target_bpp)) <= close_enough:
            break
        slope = RATE_LAMBDA_SLOPE if raises_rate else -RATE_LAMBDA_SLOPE
        if len(trials) > 1 and trials[-2].value != latest.value:
            measured = math.log(latest.bpp / trials[-2].bpp) / math.log(latest.value / trials[-2].value)
            # A slope of the wrong sign or size is noise of a short training, not a property of the codec.
            if 0.2 < measured / slope < 3:
                slope = measured
        step = math.log(target_bpp / latest.bpp) / slope
        value = latest.value * math.exp(max(-_LARGEST_STEP, min(_LARGEST_STEP, step)))
        trials.append(Trial(value, rate_of(value)))
    return trials
