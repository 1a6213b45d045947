"""Perceptual losses of codecs in training: the distance of VGG-19's features, and 1 - SSIM."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ..layers.vgg import Vgg19, perceptual_loss
from .base import WeightLoader

_WINDOW, _STEP = 8, 4
_C1, _C2 = 0.01**2, 0.03**2


class PerceptualLoss:
    """Mean absolute difference of VGG-19's features (Simonyan and Zisserman 2015).

    It is no nn.Module: VGG-19 must not become a part of the codec that holds this loss.
    """

    def __init__(self) -> None:
        self._vgg: Vgg19 | None = None

    def load(self, load_weights: WeightLoader) -> None:
        """Build VGG-19 and copy published weights into it. Raises CheckpointError where they do not fit."""
        vgg = Vgg19().eval()
        load_weights(vgg)
        self._vgg = vgg

    @property
    def loaded(self) -> bool:
        """Whether there are weights."""
        return self._vgg is not None

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """The loss of each picture (B,), for two batches (B, 3, H, W) in [0, 1]."""
        assert self._vgg is not None, "the perceptual loss has no weights: call load first"
        return perceptual_loss(self._vgg.to(a.device), a, b)


def ssim_loss(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004) of each picture (B,), for two batches (B, 3, H, W) in [0, 1] of at least 8x8.

    Windows are 8x8 squares at every fourth pixel. They cost little next to Gaussian ones, and are for training only:
    reported figures come from `metrics.structural_similarity`.
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, _WINDOW, _STEP)

    with torch.autocast(a.device.type, enabled=False):
        mean_a, mean_b = mean(a), mean(b)
        both, squares = mean_a * mean_b, mean_a.square() + mean_b.square()
        covariance, variances = mean(a * b) - both, mean(a.square() + b.square()) - squares
        ssim = (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
        return 1 - ssim.flatten(1).mean(1)
