"""Which arithmetic trains faster here: measured, not assumed."""

import copy
import math
import time
from typing import Literal

import torch
from torch import Tensor

from components.codecs.base import Codec

Precision = Literal["32-true", "bf16-mixed"]

_TRIALS = 3
_CLEARLY_FASTER = 1.15  # bfloat16 rounds; it has to pay for that, and a noisy clock should not decide
_HOPELESS = 2.0  # times slower: processors without bfloat16 kernels emulate them, and need no second look


def fastest_precision(codec: Codec, x: Tensor, lmbda: float) -> Precision:
    """Time forward and backward passes of a copy of `codec` on a batch (B, 3, H, W), in float32 and in bfloat16."""
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
    return "bf16-mixed" if float32 > _CLEARLY_FASTER * seconds(True, _HOPELESS * float32) else "32-true"
