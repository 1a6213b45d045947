"""Stopping between two steps, never within one, and not outliving who asked."""

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_PR_SET_PDEATHSIG = 1


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether SIGINT or SIGTERM came; a second SIGINT interrupts at once.

    A repeated SIGTERM does not: the kernel sends one for each thread of a parent that died.

    Outside the main thread, where Python takes no signal handlers, the function always says no.
    """
    requested = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        requested = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_with_parent() -> None:
    """Have Linux send SIGTERM to this process when its parent ends, however that ends.

    A training whose scheduler task or dvc was killed saves its state and stops; it does not go on unseen beside
    the retry that resumes it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
