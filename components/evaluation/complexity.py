"""The cost of a codec: multiply-accumulates per pixel, number of parameters, peak memory."""

import resource

import torch
from torch.utils.flop_counter import FlopCounterMode

from components.codecs.base import Codec

_SIDE = 256


def kmac_per_px(codec: Codec) -> tuple[float, float]:
    """Thousands of multiply-accumulates per pixel of encoder and decoder, counted on a 256x256 picture.

    Convolutions and matrix products count; elementwise operations and entropy coding do not. A codec that does not
    compute with torch gives its own figures.
    """
    if (own := codec.kmac_per_px()) is not None:
        return own
    x = torch.rand(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)).to(codec.gain.device)
    with FlopCounterMode(display=False) as encoder:
        streams = codec.compress(x)
    with FlopCounterMode(display=False) as decoder:
        codec.decompress(streams)
    return _kmac_per_px(encoder), _kmac_per_px(decoder)


def count_parameters(codec: Codec) -> int:
    """The number of trained values in a codec."""
    return sum(parameter.numel() for parameter in codec.parameters())


def peak_memory_mb() -> float:
    """The most memory that this process has held, in 10^6 bytes: on the GPU where there is one, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _kmac_per_px(counter: FlopCounterMode) -> float:
    return float(counter.get_total_flops()) / 2 / 1000 / _SIDE**2
