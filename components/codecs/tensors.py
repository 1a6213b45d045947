"""Pictures as tensors, and the tensors that a training step returns."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..arrays import Rgb


class Reconstruction(NamedTuple):
    """The result of a codec's forward pass.

    Attributes:
        x_hat: (B, 3, H, W), the reconstructions, in about [0, 1].
        bits: (B,), the estimated bits of each picture.
        weight: (B,), the weight of each picture's distortion, or None for equal weights. A codec that serves a range
            of rates trains with pictures of different rates in one batch.
    """

    x_hat: Tensor
    bits: Tensor
    weight: Tensor | None = None


class Loss(NamedTuple):
    """A training loss and its parts.

    Attributes:
        total: the scalar that training minimises.
        distortion: its distortion, in the units of the paper's loss.
        rate: its rate, in the units of the paper's loss.
    """

    total: Tensor
    distortion: Tensor
    rate: Tensor


def to_tensor(rgb: Rgb) -> Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255


def to_rgb(x: Tensor) -> Rgb:
    """(1, 3, H, W) in [0, 1] to (H, W, 3) uint8, rounded."""
    rgb: Rgb = x[0].clamp(0, 1).mul_(255).round_().byte().permute(1, 2, 0).cpu().numpy()
    return rgb
