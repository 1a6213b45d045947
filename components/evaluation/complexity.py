"""The cost of a codec: multiply-accumulates per pixel, number of parameters, peak memory."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..arrays import Rgb
from ..codecs.base import Codec
from ..codecs.coder import Coder, LearnedCoder
from ..coding.fixed_point import Products

_SIDE = 256
_PROCESS = Path("/proc/self")


def kmac_per_px(codec: Codec) -> tuple[float, float]:
    """Thousands of multiply-accumulates per pixel of encoder and decoder, counted on a 256x256 picture.

    Convolutions and matrix products count; elementwise operations and entropy coding do not. A codec that does not
    compute with torch gives its own figures.
    """
    if (own := codec.kmac_per_px()) is not None:
        return own
    x = torch.rand(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)).to(codec.gain.device)
    streams: list[bytes] = []
    encoder = _kmac(lambda: streams.extend(codec.compress(x)))
    decoder = _kmac(lambda: codec.decompress(streams))
    return encoder / _SIDE**2, decoder / _SIDE**2


def count_parameters(codec: Codec) -> int:
    """The number of trained values in a codec."""
    return sum(parameter.numel() for parameter in codec.parameters())


def peak_memory_mb(coder: Coder, rgb: Rgb) -> float | None:
    """The most memory that encoding and decoding a picture take, the codec's weights included.

    It is what the process holds at its peak above what it held before: on the GPU if the codec lies there, else
    resident memory. What the process holds besides (libraries, other pictures) does not count.

    Args:
        coder: a learned or a classic codec.
        rgb: the picture.

    Returns:
        Memory in 10^6 bytes; None where the system does not let a process start its peak anew: other systems than
        Linux with glibc, and sandboxes without /proc/self/clear_refs.
    """
    codec = coder.codec if isinstance(coder, LearnedCoder) else None
    weights = 0 if codec is None else sum(value.nbytes for value in codec.state_dict().values())
    device = torch.device("cpu") if codec is None else codec.gain.device
    try:
        before = _start_peak(device)
    except (OSError, AttributeError):  # no such file, no right to write it; no malloc_trim
        return None
    coder.decode(coder.encode(rgb))
    return (weights + _peak(device) - before) / 1e6


def _start_peak(device: torch.device) -> int:
    """Make the peak of memory start anew, and return the bytes that are held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    # The allocator keeps freed memory, which coding would take without a rise in resident memory.
    ctypes.CDLL(None).malloc_trim(0)
    (_PROCESS / "clear_refs").write_text("5")  # VmHWM, the peak, becomes the present size
    return _resident("VmRSS")


def _peak(device: torch.device) -> int:
    """The peak since `_start_peak`, in bytes."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def _resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    (line,) = (line for line in (_PROCESS / "status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def _kmac(work: Callable[[], object]) -> float:
    """Thousands of multiply-accumulates of `work`: those of torch, and those of networks in integers."""
    before = Products.done
    with FlopCounterMode(display=False) as counter:
        work()
    return (float(counter.get_total_flops()) / 2 + Products.done - before) / 1000
