"""Search among a codec's discrete operating points for the highest real rate up to a target."""

from collections.abc import Callable

from ..errors import CalibrationError
from .trial import Trial


def search_operating_point(
    rate_of: Callable[[float], float], operating_points: range, target_bpp: float
) -> list[Trial]:
    """Find the last operating point whose real rate is at most the target, by bisection.

    The search tests both ends first, since most searches end there. It takes at most log2(n) + 3 evaluations.

    Args:
        rate_of: bits per pixel of real bitstreams at an operating point; the rate rises along `operating_points`.
        operating_points: the values to choose from.
        target_bpp: the target rate, which is never exceeded, whatever the distance below it.

    Returns:
        The evaluations; the last one is the result.

    Raises:
        CalibrationError: if every rate exceeds the target; the message gives the lowest rate.
    """
    trials = [Trial(operating_points[0], rate_of(operating_points[0]))]
    if trials[0].bpp > target_bpp:
        raise CalibrationError(f"no rate below {target_bpp:g} bpp: the lowest is {trials[0].bpp:.4f} bpp")
    best, over = 0, len(operating_points)
    while over - best > 1:
        middle = len(operating_points) - 1 if over == len(operating_points) else (best + over) // 2
        trial = Trial(operating_points[middle], rate_of(operating_points[middle]))
        trials.append(trial)
        if trial.bpp <= target_bpp:
            best = middle
        else:
            over = middle
    return sorted(trials, key=lambda trial: trial.value == operating_points[best])
