"""Stop requests by signal, and termination together with the parent process."""

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import RatewrightError

_PR_SET_PDEATHSIG = 1


class Interrupted(RatewrightError):
    """Training was stopped and its state saved; the same call resumes it."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM arrived.

    A second SIGINT raises KeyboardInterrupt at once. A second SIGTERM does not: the kernel sends one for each thread of
    a parent that died. Outside the main thread Python allows no signal handlers, and the function returns False.
    """
    requested = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        requested = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_with_parent() -> None:
    """Ask Linux to send SIGTERM to this process when its parent ends, even if the parent is killed.

    A training whose scheduler task or dvc was killed then saves its state and stops. Otherwise it would continue
    beside the retry that resumes it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
