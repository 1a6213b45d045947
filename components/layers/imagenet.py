"""Normalisation of pictures for networks that were trained on ImageNet with torchvision's recipe."""

from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
"""Mean of R, G and B in [0, 1] over ImageNet."""
STD = (0.229, 0.224, 0.225)
"""Standard deviation of R, G and B in [0, 1] over ImageNet."""


def normalised(x: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in [0, 1] to zero mean and unit variance over ImageNet."""
    return (x - x.new_tensor(MEAN).view(3, 1, 1)) / x.new_tensor(STD).view(3, 1, 1)
