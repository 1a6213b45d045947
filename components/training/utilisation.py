"""The share of a device's peak that a training reaches: the operations of a step, and the peak to hold them against."""

import time
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..codecs.base import Codec
from .precision import Precision

PEAKS = {
    "NVIDIA H200": (989, 494),
    "NVIDIA H100 80GB HBM3": (989, 494),
    "NVIDIA H100 PCIe": (756, 378),
    "NVIDIA A100-SXM4-80GB": (312, 156),
    "NVIDIA A100-SXM4-40GB": (312, 156),
    "NVIDIA A100 80GB PCIe": (312, 156),
    "NVIDIA L40S": (362, 183),
    "NVIDIA L4": (121, 60),
}
"""Dense TFLOP/s in bfloat16 and in TF32 from NVIDIA's data sheets; half the figure if a sheet counts sparsity."""

_TRIALS = 3


class Peak(NamedTuple):
    """The most operations that a device does in a second."""

    tflops: float
    """In 10^12 floating point operations per second."""
    source: Literal["data sheet", "large matrix product"]
    """Where the figure comes from."""


def peak(device: torch.device, precision: Precision) -> Peak:
    """The peak of a device: that of its data sheet, or measured where the table has none.

    Args:
        device: a GPU or the processor.
        precision: of the training. On a GPU, float32 convolutions use TF32.
    """
    if device.type == "cuda":
        known = PEAKS.get(torch.cuda.get_device_name(device))
        if known is not None:
            return Peak(known[precision == "32-true"], "data sheet")
    return Peak(matmul_tflops(device, precision), "large matrix product")


def matmul_tflops(device: torch.device, precision: Precision) -> float:
    """TFLOP/s of a large matrix product, in bfloat16 or in TF32, which float32 convolutions on a GPU use."""
    side, times = (8192, 20) if device.type == "cuda" else (1024, 3)
    dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
    a = torch.rand(side, side, device=device, dtype=dtype)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")

    def seconds() -> float:
        started = time.perf_counter()
        for _ in range(times):
            a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    seconds()
    best = min(seconds() for _ in range(_TRIALS))
    torch.set_float32_matmul_precision(before)
    return times * 2 * side**3 / best / 1e12


def step_flop(codec: Codec, x: Tensor, lmbda: float) -> int:
    """Floating point operations of the convolutions and matrix products of a step, forward and backward.

    Discriminators and element-wise operations are left out, so that a share of the peak is rather too small.

    Args:
        codec: on the device of `x`. It is left in training mode, with gradients.
        x: a batch (B, 3, H, W) in [0, 1].
        lmbda: lambda of the loss.
    """
    x = codec.train().pad(x)
    with FlopCounterMode(display=False) as counter:
        codec.loss(x, codec(x), lmbda).total.backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())
