"""Choice of the faster arithmetic for training, by measurement: float32 or mixed bfloat16."""

import copy
import math
import time
from typing import Literal

import torch
from torch import Tensor

from ..codecs.base import Codec

Precision = Literal["32-true", "bf16-mixed"]

_TRIALS = 3
_MIN_SPEEDUP = 1.15  # bfloat16 costs accuracy, and timings are noisy: a smaller gain does not count
_GIVE_UP = 2.0  # times slower than float32: a processor that emulates bfloat16 is not timed again


def fastest_precision(codec: Codec, x: Tensor, lmbda: float) -> Precision:
    """Time forward and backward passes of a copy of `codec` in float32 and in mixed bfloat16.

    Args:
        codec: stays unchanged.
        x: a batch (B, 3, H, W) in [0, 1], on the device to measure.
        lmbda: lambda of the loss.

    Returns:
        "bf16-mixed" where it is at least 15 % faster, otherwise "32-true".
    """
    trial = copy.deepcopy(codec).train()

    def seconds(bf16: bool, give_up_s: float = math.inf) -> float:
        times: list[float] = []
        for attempt in range(_TRIALS + 1):
            started = time.perf_counter()
            with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
                reconstruction = trial(x)
            trial.loss(x, reconstruction, lmbda).total.backward()  # type: ignore[no-untyped-call]
            if x.device.type == "cuda":
                torch.cuda.synchronize()
            if attempt > 0:  # the first pass also builds kernels
                times.append(time.perf_counter() - started)
                if times[-1] > give_up_s:
                    break
        return min(times)

    float32 = seconds(False)
    return "bf16-mixed" if float32 > _MIN_SPEEDUP * seconds(True, _GIVE_UP * float32) else "32-true"
