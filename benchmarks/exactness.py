"""Whether a codec's streams decode to the same latents on the processor and on another device."""

import copy

import torch
from torch import Tensor

from components.codecs.base import Codec
from components.errors import BitstreamError, one_line


def exactness(codec: Codec, device: torch.device, x: Tensor) -> dict[str, bool | str]:
    """Encode a picture on each side, and decode each stream on both.

    Args:
        codec: with trained weights.
        device: the other device, such as a GPU.
        x: the picture (1, 3, H, W) in [0, 1].

    Returns:
        By direction, such as "cuda to cpu": whether all latents are equal, or the error of a stream that cannot be
        decoded.
    """
    cpu = torch.device("cpu")
    codecs = {side: copy.deepcopy(codec).to(side) for side in (cpu, device)}
    found: dict[str, bool | str] = {}
    for writer, reader in ((device, cpu), (cpu, device)):
        try:
            (stream,) = codecs[writer].compress(x.to(writer))
            latents = [codecs[side].unpack(stream).cpu() for side in (writer, reader)]
            found[f"{writer.type} to {reader.type}"] = torch.equal(*latents)
        except BitstreamError as error:
            found[f"{writer.type} to {reader.type}"] = one_line(error)
    return found
