"""The search for the lambda, and then for the quantiser step, that meet a target rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from components.errors import CalibrationError
from components.rate.lambda_controller import TYPICAL_SLOPE

_LARGEST_STEP = math.log(4)
_REACH = 16.0  # the quantiser step is moved by at most this factor either way
_TRIES = 16


@dataclass(frozen=True)
class Trial:
    """A knob's `value` and the bpp of real bitstreams that it gave."""

    value: float
    bpp: float


def search_lmbda(
    rate_of: Callable[[float], float],
    first: Trial,
    target_bpp: float,
    *,
    raises_rate: bool,
    rounds: int,
    close_enough: float,
) -> list[Trial]:
    """Secant steps of log(bpp) over log(lambda) from the trained codec's trial; `first` and up to `rounds` more.

    `rate_of(lmbda)` is expensive: it trains for a while at that lambda. The search ends when the rate is
    within the share `close_enough` of the target, where the quantiser step can do the rest.
    """
    trials = [first]
    for _ in range(rounds):
        latest = trials[-1]
        if abs(math.log(latest.bpp / target_bpp)) <= close_enough:
            break
        slope = TYPICAL_SLOPE if raises_rate else -TYPICAL_SLOPE
        if len(trials) > 1 and trials[-2].value != latest.value:
            measured = math.log(latest.bpp / trials[-2].bpp) / math.log(latest.value / trials[-2].value)
            # A slope of the wrong sign or size is the noise of a short training, not the codec's.
            if 0.2 < measured / slope < 3:
                slope = measured
        step = math.log(target_bpp / latest.bpp) / slope
        value = latest.value * math.exp(max(-_LARGEST_STEP, min(_LARGEST_STEP, step)))
        trials.append(Trial(value, rate_of(value)))
    return trials


def climb(rate_of: Callable[[float], float], rungs: range, target_bpp: float) -> list[Trial]:
    """Find the last of `rungs` whose real rate is at most the target; the rate rises along them.

    The last trial is that one. Raises CalibrationError, which names the lowest rate, where there is none.
    """
    trials = [Trial(rungs[0], rate_of(rungs[0]))]
    if trials[0].bpp > target_bpp:
        raise CalibrationError(f"no rate below {target_bpp:g} bpp: the lowest is {trials[0].bpp:.4f} bpp")
    best, over = 0, len(rungs)
    while over - best > 1:
        # The ends first: most searches end there or halve from there.
        middle = len(rungs) - 1 if over == len(rungs) else (best + over) // 2
        trial = Trial(rungs[middle], rate_of(rungs[middle]))
        trials.append(trial)
        if trial.bpp <= target_bpp:
            best = middle
        else:
            over = middle
    return sorted(trials, key=lambda trial: trial.value == rungs[best])


def trim(rate_of: Callable[[float], float], target_bpp: float, tolerance: float, start: float = 1.0) -> list[Trial]:
    """Find the gain (1 / quantiser step) whose real rate lies in [(1 - tolerance) * target, target].

    `rate_of(gain)` grows with the gain. Secant steps in the logarithms of both, from `start`, halving where they leave
    the bracket, until the rate is in the upper quarter of that window or tries run out; the last trial is the best
    admissible one. Raises CalibrationError, which names the nearest rate reached.
    """
    trials = [Trial(start, rate_of(start))]
    below: float | None = None
    above: float | None = None
    while not (1 - tolerance / 4) * target_bpp <= trials[-1].bpp <= target_bpp and len(trials) <= _TRIES:
        gain, bpp = trials[-1].value, trials[-1].bpp
        if bpp > target_bpp:
            above = gain if above is None else min(above, gain)
        else:
            below = gain if below is None else max(below, gain)
        step = math.log((1 - tolerance / 8) * target_bpp / bpp) / _slope(trials)
        gain *= math.exp(max(-_LARGEST_STEP, min(_LARGEST_STEP, step)))
        if below is not None and above is not None and not below < gain < above:
            gain = math.sqrt(below * above)
        if not start / _REACH <= gain <= start * _REACH:
            break
        trials.append(Trial(gain, rate_of(gain)))
    admissible = [trial for trial in trials if (1 - tolerance) * target_bpp <= trial.bpp <= target_bpp]
    if not admissible:
        nearest = min(trials, key=lambda trial: abs(math.log(trial.bpp / target_bpp)))
        raise CalibrationError(
            f"no quantiser step meets {target_bpp:g} bpp within {tolerance:.1%}; "
            f"the nearest rate reached is {nearest.bpp:.4f} bpp at gain {nearest.value:.4g}"
        )
    best = max(admissible, key=lambda trial: trial.bpp)
    return [trial for trial in trials if trial != best] + [best]


def _slope(trials: list[Trial]) -> float:
    """d log(bpp) / d log(gain) from the last two trials; 1, a little above what is usual, where they do not tell."""
    if len(trials) < 2:
        return 1.0
    (before, rate_before), (now, rate_now) = ((trial.value, trial.bpp) for trial in trials[-2:])
    measured = math.log(rate_now / rate_before) / math.log(now / before) if now != before else 0.0
    return measured if 0.2 < measured < 5 else 1.0
