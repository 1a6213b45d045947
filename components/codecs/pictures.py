"""Between pictures (uint8 arrays) and what codecs take (float tensors)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(rgb: NDArray[np.uint8]) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255


def to_rgb(x: Tensor) -> NDArray[np.uint8]:
    """(1, 3, H, W) in [0, 1] to (H, W, 3) uint8, rounded."""
    rgb: NDArray[np.uint8] = (x[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return rgb
