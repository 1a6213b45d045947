"""Multilayer perceptron that predicts pixels from causal neighbours, for lossless coding.

The predictor of "Image Compression using Deep Learning" (paper 002; Sidpara and Makadia), trained in floating point;
`components.entropy.pixels.fixed_point_mlp` runs it in integers for coding.

Shapes: B pictures of (H, W), K context pixels, three planes. Inputs are differences from a reference, the mean of the
pixels to the left and above, rounded down; and the errors of the network's own predictions nearby.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .neighbourhood import (
    ABOVE,
    LEFT,
    NEAREST,
    NEIGHBOURS,
    PLANES,
    REACH_LEFT,
    REACH_RIGHT,
    REACH_UP,
)

GREY_UNIT = 16.0
"""Grey levels for 1 in the network."""
HIDDEN_BITS = 7
"""Fractional bits of hidden units, and of logarithms of errors, in fixed point."""
ERROR_BITS = 3
"""Fractional bits of an error in fixed point."""
_LARGEST_ERRORS = (1 << 12) - 1  # sum of neighbours' errors
_SPREAD = 2  # outputs: scale, weight


class Prediction(NamedTuple):
    """Distribution of one plane: `mean` above the reference in grey levels; grid numbers of a scale and a weight.

    See components.entropy.pixels.logistic_mixture for the grid. Each is (B, H, W).
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor


class CausalMlp(nn.Module):
    """Predicts a mixture of logistics for each plane of each pixel.

        differences of K context pixels (3 K) --linear, ReLU--> width --linear, ReLU--> width
        for each plane: width, the planes before it here --linear, ReLU--> head --linear--> mean
        mean += a linear prediction from the differences and from the planes before it
        head, logarithms of errors (of the nearest context pixels, and of the planes so far) --linear--> scale, weight

    It starts as the linear predictor of gradient-adjusted prediction (Wu and Memon 1997), with one scale everywhere.

    Args:
        width: units of the two shared hidden layers.
        head: units of each plane's hidden layer.
        scale: grid number of the initial scale.
    """

    logarithms: Tensor

    def __init__(self, width: int, head: int, scale: float):
        super().__init__()
        inputs = PLANES * len(NEIGHBOURS)
        self.first = nn.Linear(inputs, width)
        self.second = nn.Linear(width, width)
        self.linear = nn.Linear(inputs, PLANES)
        self.heads = nn.ModuleList(nn.Linear(width + plane, head) for plane in range(PLANES))
        self.means = nn.ModuleList(nn.Linear(head, 1) for _ in range(PLANES))
        self.spreads = nn.ModuleList(nn.Linear(head + PLANES + plane, _SPREAD) for plane in range(PLANES))
        self.across = nn.Parameter(torch.zeros(PLANES, PLANES))  # [plane, one before it]
        # Fixed-point logarithms of sums of errors, kept in the checkpoint: no machine computes its own.
        sums = torch.arange(_LARGEST_ERRORS + 1, dtype=torch.float64) / 2**ERROR_BITS
        self.register_buffer("logarithms", (2**HIDDEN_BITS * torch.log2(1 + sums)).round().to(torch.int16))
        self._initialise(scale)

    @torch.no_grad()
    def _initialise(self, scale: float) -> None:
        self.linear.weight.zero_()
        self.linear.bias.zero_()
        for plane in range(PLANES):
            self.linear.weight[plane, PLANES * NEIGHBOURS.index((1, -1)) + plane] = 0.25
            self.linear.weight[plane, PLANES * NEIGHBOURS.index((1, 1)) + plane] = -0.25
        for mean, spread in zip(self.means, self.spreads, strict=True):
            assert isinstance(mean, nn.Linear)
            assert isinstance(spread, nn.Linear)
            mean.weight.mul_(0.1)
            mean.bias.zero_()
            spread.weight.mul_(0.1)
            spread.bias.copy_(torch.tensor([scale, 1.0]))

    def forward(self, planes: Tensor) -> tuple[Tensor, list[Prediction]]:
        """Predict every pixel of pictures that are known as a whole.

        Args:
            planes: (B, 3, H, W) values.

        Returns:
            Differences of the planes from the reference (B, 3, H, W), and a prediction of each plane.
        """
        context = _shifted(planes, NEIGHBOURS)
        reference = ((context[:, LEFT] + context[:, ABOVE]) / 2).floor()
        x = (context - reference[:, None]).flatten(1, 2).permute(0, 2, 3, 1)
        here = (planes - reference).permute(0, 2, 3, 1)
        heads, means = self._means(x, here)
        errors = (here - torch.stack(means, dim=-1)).abs().detach()
        nearby = _shifted(errors.permute(0, 3, 1, 2), NEAREST).sum(dim=1).permute(0, 2, 3, 1)
        sizes = torch.cat((nearby, errors), dim=-1).clamp_max(_LARGEST_ERRORS / 2**ERROR_BITS)
        logarithms = torch.log2(1 + sizes)
        predictions = []
        for plane, (hidden, mean, spread) in enumerate(zip(heads, means, self.spreads, strict=True)):
            inputs = torch.cat((hidden, logarithms[..., : PLANES + plane]), dim=-1)
            scale, weight = spread(inputs).unbind(dim=-1)
            predictions.append(Prediction(mean, scale, weight))
        return planes - reference, predictions

    def _means(self, x: Tensor, here: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden units (B, H, W, head) and means (B, H, W) of each plane, from context and earlier planes."""
        hidden = F.relu(self.second(F.relu(self.first(x / GREY_UNIT))))
        linear = self.linear(x)
        heads: list[Tensor] = []
        means: list[Tensor] = []
        for plane, (head, output) in enumerate(zip(self.heads, self.means, strict=True)):
            earlier = here[..., :plane]
            heads.append(F.relu(head(torch.cat((hidden, earlier / GREY_UNIT), dim=-1))))
            across = earlier @ self.across[plane, :plane]
            means.append(linear[..., plane] + across + GREY_UNIT * output(heads[-1])[..., 0])
        return heads, means

    @property
    def macs(self) -> int:
        """Multiply-accumulates for a pixel."""
        return sum(layer.weight.numel() for layer in self.modules() if isinstance(layer, nn.Linear)) + PLANES


def _shifted(planes: Tensor, offsets: tuple[tuple[int, int], ...]) -> Tensor:
    """(B, C, H, W) to (B, K, C, H, W): the values at each offset from every pixel; edges are repeated."""
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (REACH_LEFT, REACH_RIGHT, REACH_UP, 0), mode="replicate")
    return torch.stack(
        [padded[..., REACH_UP - up :, REACH_LEFT - left :][..., :height, :width] for up, left in offsets], dim=1
    )
