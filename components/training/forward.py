"""Forward passes in training: memory layout, pixel range and padding of patches."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..codecs.base import Codec
from ..codecs.tensors import Reconstruction


def to_channels_last(module: torch.nn.Module) -> None:
    """Lay out the convolution weights channels last, in place: bfloat16 kernels are made for this layout."""
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def as_float(batch: Tensor, device: torch.device) -> Tensor:
    """Convert uint8 (B, 3, H, W) to float32 in [0, 1] on `device`, channels last."""
    return batch.to(device, non_blocking=True).to(torch.float32, memory_format=torch.channels_last) / 255


def padded_forward(codec: Codec, forward: Callable[[Tensor], Reconstruction], x: Tensor) -> Reconstruction:
    """Run `forward` on patches of any size: pad them to the codec's stride and crop the reconstruction.

    Args:
        codec: defines the padding, which is that of compression.
        forward: the codec, or what Fabric or torch.compile made of it.
        x: patches (B, 3, H, W) in [0, 1].

    Returns:
        x_hat of the size of `x`. The bits are those of the padded patches, since a bitstream pays for them too.
    """
    padded = codec.pad(x)
    if padded.shape == x.shape:
        return forward(x)
    reconstruction = forward(padded)
    return reconstruction._replace(x_hat=reconstruction.x_hat[..., : x.shape[-2], : x.shape[-1]])
