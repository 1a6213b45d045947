"""Efforts: how much work an encoder does for a picture. The decoder is the same for all."""

from collections.abc import Callable

from ..errors import RatewrightError

DEFAULT_EFFORT = 1
"""What `compress` does: each element of the latents goes to the better of the two nearest integers."""

STEPS = {2: 6, 3: 12, 4: 20, 5: 40, 6: 80, 7: 200, 8: 400, 9: 1000}
"""Efforts that refine the latents by gradient, and their number of steps. The default's bitstream remains where it is
the better one. Effort 0 rounds to the nearest integers."""

EFFORTS = range(10)

Progress = Callable[[int, int], None]
"""Called with the number of steps done and that of all steps."""


def no_progress(done: int, total: int) -> None:
    """Shows nothing."""


def check_effort(effort: int) -> None:
    """Raises RatewrightError for an effort that does not exist."""
    if effort not in EFFORTS:
        raise RatewrightError(f"effort {effort}: efforts are {EFFORTS[0]} to {EFFORTS[-1]}")
