"""What a codec costs: multiply-accumulates for each pixel, parameters, peak memory."""

import resource

import torch
from torch.utils.flop_counter import FlopCounterMode

from components.codecs.base import Codec

_SIDE = 256


def kmac_per_px(codec: Codec) -> tuple[float, float]:
    """Thousands of multiply-accumulates per pixel of the encoder and of the decoder, counted on a 256x256 picture.

    Convolutions and matrix products count; elementwise work and entropy coding do not. A codec that does not
    compute with torch says them itself.
    """
    if (told := codec.kmac_per_px()) is not None:
        return told
    x = torch.rand(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0)).to(codec.gain.device)

    def kmac(counter: FlopCounterMode) -> float:
        return float(counter.get_total_flops()) / 2 / 1000 / _SIDE**2

    with FlopCounterMode(display=False) as encoder:
        streams = codec.compress(x)
    with FlopCounterMode(display=False) as decoder:
        codec.decompress(streams)
    return kmac(encoder), kmac(decoder)


def parameters(codec: Codec) -> int:
    """Learned numbers in the codec."""
    return sum(parameter.numel() for parameter in codec.parameters())


def peak_mb() -> float:
    """The largest memory this process has held, in 10^6 bytes: on the GPU if one was used, else resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
