"""The memory of a training: what one step frees, the next one takes again."""

import ctypes

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Tell glibc's malloc to keep the memory of freed tensors in this process; other allocators stay as they are.

    By default it returns blocks of more than some 32 MiB to the system at once. The system then clears their pages for
    the next step, which for codecs with feature maps near full resolution takes a third of a step.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_MAX, 0)
        set_option(_TRIM_THRESHOLD, _NEVER)
