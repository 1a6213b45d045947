"""Search for the gain (1 / quantiser step) at which a trained codec meets a target rate in real bytes."""

import math
from collections.abc import Callable, Sequence

import torch

from ..arrays import Rgb
from ..codecs.base import Codec
from ..codecs.coder import LearnedCoder
from ..errors import CalibrationError
from .operating_points import search_operating_point
from .real_rate import rate_and_psnr, rate_function
from .trial import Trial

_LARGEST_STEP = math.log(4)
_LARGEST_FACTOR = 16.0  # between the first gain and every other one
_MOST_STEPS = 16


def gain_for_target(
    codec: Codec,
    pictures: Sequence[Rgb],
    target_bpp: float,
    tolerance: float,
    on_trial: Callable[[Trial], None] = lambda _: None,
    *,
    rate_at: Callable[[float], float] | None = None,
) -> float:
    """Find the gain at which `pictures` meet the target rate, without training.

    A codec with discrete operating points gets the operating point with the highest rate up to the target, whatever the
    tolerance. If it has several ranges of them, the one with the highest PSNR wins.

    Args:
        codec: stays unchanged; the search begins at its present gain.
        pictures: uint8 (H, W, 3) each.
        target_bpp: bits per pixel of real bitstreams, total over total.
        tolerance: share of the target by which the rate may fall short; the rate never exceeds the target.
        on_trial: called after each evaluation.
        rate_at: `rate_function(codec, pictures)`, where the caller has it already.

    Returns:
        The gain, as a checkpoint represents it.

    Raises:
        CalibrationError: if no gain meets the target; the message gives the nearest rate.
    """
    return choose_gain(
        rate_at or rate_function(codec, pictures),
        lambda gain: rate_and_psnr(LearnedCoder(codec, gain), pictures)[1],
        target_bpp,
        tolerance,
        start=codec.gain.item(),
        operating_points=codec.operating_points,
        on_trial=on_trial,
    )


def choose_gain(
    rate_at: Callable[[float], float],
    psnr_at: Callable[[float], float | None],
    target_bpp: float,
    tolerance: float,
    *,
    start: float,
    operating_points: Sequence[range],
    on_trial: Callable[[Trial], None] = lambda _: None,
) -> float:
    """Find the gain that meets a target rate, as `gain_for_target` does, of a codec known by rate and quality alone.

    Args:
        rate_at: bits per pixel of real bitstreams at a gain.
        psnr_at: mean PSNR in dB at a gain; None where every picture comes back unchanged.
        target_bpp: the target rate, which is never exceeded.
        tolerance: share of the target by which the rate may fall short.
        start: the first gain.
        operating_points: the gains that exist; empty where any does.
        on_trial: called after each evaluation.

    Returns:
        The gain, as a checkpoint represents it.

    Raises:
        CalibrationError: if no gain meets the target; the message gives the nearest rate.
    """

    def rate_of(gain: float) -> float:
        bpp = rate_at(_stored(gain))
        on_trial(Trial(gain, bpp))
        return bpp

    if not operating_points:
        return _stored(search_gain(rate_of, target_bpp, tolerance, start)[-1].value)
    reached, failures = [], []
    for points in operating_points:
        try:
            reached.append(search_operating_point(rate_of, points, target_bpp)[-1].value)
        except CalibrationError as error:
            failures.append(error)
    if not reached:
        raise failures[0]
    return max(reached, key=lambda gain: psnr_at(gain) or math.inf)


def _stored(gain: float) -> float:
    """Round a gain to the data type of checkpoints, so that the measured rate is the deployed one."""
    return torch.tensor(gain, dtype=torch.float32).item()


def search_gain(
    rate_of: Callable[[float], float], target_bpp: float, tolerance: float, start: float = 1.0
) -> list[Trial]:
    """Find a gain whose real rate lies in [(1 - tolerance) * target, target].

    The search takes secant steps of log(bpp) over log(gain), and halves the bracket where a step leaves it. It ends
    with a rate in the upper quarter of the window, or after 17 evaluations; two to four are usual. SciPy's brentq and
    toms748 need slightly more (3.3 on average against 3.1), and first a bracket; neither ends in a one-sided window.

    Args:
        rate_of: bits per pixel of real bitstreams; rises with the gain.
        target_bpp: the target rate, which is never exceeded.
        tolerance: width of the window as a share of the target.
        start: the first gain; the others lie within a factor of 16 of it.

    Returns:
        The evaluations; the last one has the highest rate in the window.

    Raises:
        CalibrationError: if no rate in the window was found; the message gives the nearest rate.
    """
    trials = [Trial(start, rate_of(start))]
    below: float | None = None
    above: float | None = None
    while not (1 - tolerance / 4) * target_bpp <= trials[-1].bpp <= target_bpp and len(trials) <= _MOST_STEPS:
        gain, bpp = trials[-1].value, trials[-1].bpp
        if bpp > target_bpp:
            above = gain if above is None else min(above, gain)
        else:
            below = gain if below is None else max(below, gain)
        step = math.log((1 - tolerance / 8) * target_bpp / bpp) / _slope(trials)
        gain *= math.exp(max(-_LARGEST_STEP, min(_LARGEST_STEP, step)))
        if below is not None and above is not None and not below < gain < above:
            gain = math.sqrt(below * above)
        if not start / _LARGEST_FACTOR <= gain <= start * _LARGEST_FACTOR:
            break
        trials.append(Trial(gain, rate_of(gain)))
    return _best_last(trials, target_bpp, tolerance)


def _best_last(trials: list[Trial], target_bpp: float, tolerance: float) -> list[Trial]:
    """Move the trial with the highest rate in the window to the end. Raises CalibrationError if there is none."""
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
    """d log(bpp) / d log(gain) from the last two trials; 1, slightly more than usual, where they give no slope."""
    if len(trials) < 2:
        return 1.0
    (before, rate_before), (now, rate_now) = ((trial.value, trial.bpp) for trial in trials[-2:])
    measured = math.log(rate_now / rate_before) / math.log(now / before) if now != before else 0.0
    return measured if 0.2 < measured < 5 else 1.0
