"""What judges how alike two pictures look, in training alone: no part of the codec that is judged."""

import torch
from torch import Tensor
from torch.nn import functional as F

from components.codecs.base import Weights
from components.layers.vgg import Vgg19, perceptual_loss

_WINDOW, _STEP = 8, 4
_C1, _C2 = 0.01**2, 0.03**2


class PerceptualLoss:
    """VGG-19, once `load` has given its weights. It is no module: a codec that holds one has no more parameters."""

    def __init__(self) -> None:
        self._vgg: Vgg19 | None = None

    def load(self, weights: Weights) -> None:
        """Take published weights."""
        vgg = Vgg19().eval()
        weights(vgg)
        self._vgg = vgg

    @property
    def loaded(self) -> bool:
        """Whether it has weights."""
        return self._vgg is not None

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean absolute difference of the features of two batches (B, 3, H, W) in [0, 1], per picture (B,)."""
        assert self._vgg is not None, "it has no weights"
        return perceptual_loss(self._vgg.to(a.device), a, b)


def dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM (Wang et al. 2004) of two batches (B, 3, H, W) in [0, 1], per picture (B,); 8x8 at least.

    Windows are 8x8 squares at every fourth pixel, which cost little next to Gaussian ones: to descend, not to report.
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, _WINDOW, _STEP)

    with torch.autocast(a.device.type, enabled=False):
        mean_a, mean_b = mean(a), mean(b)
        both, squares = mean_a * mean_b, mean_a.square() + mean_b.square()
        covariance, variances = mean(a * b) - both, mean(a.square() + b.square()) - squares
        ssim = (2 * both + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
        return 1 - ssim.flatten(1).mean(1)
