"""Refinement networks: Gaussians of latents, sharpened by what a progressive stream has decoded so far.

CTC (Jeon, Choi, Park and Kim, "Context-based trit-plane coding for progressive image compression", CVPR 2023) has two:
context-based rate reduction (CRR) gives better probabilities of the trits that follow, context-based distortion
reduction (CDR) gives better values for the reconstruction. There they are floating-point convolutions; here they have
a fixed-point form (components.coding.trit_planes), because every trit depends on them.
"""

import torch
from torch import Tensor, nn

from ...layers.fixed_point import Gate
from ...layers.residual import conv3x3
from ..integers import Integers, layers


class Refinement(nn.Module):
    """Shifts of means and logarithms of scale factors, from hyperprior features and decoded latents.

        decoded (B, 3C, h, w) --conv 3x3--> context (B, F, h, w) --+
        psi (B, F, h, w) ------------------------------------------+--1x1, gate, 1x1--> (B, 2C, h, w)

    Args:
        channels: C, of the latents.
        features: F, of psi and of the context.
    """

    def __init__(self, channels: int, features: int):
        super().__init__()
        self.around = nn.Sequential(conv3x3(3 * channels, features))
        last = nn.Conv2d(features, 2 * channels, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.weigh = nn.Sequential(nn.Conv2d(2 * features, 2 * features, 1), Gate(), last)

    def forward(self, psi: Tensor, decoded: Tensor) -> Tensor:
        """In floating point, for training."""
        out: Tensor = self.weigh(torch.cat((psi, self.around(decoded)), dim=1))
        return out

    def coding_parts(self, name: str) -> tuple[tuple[list[str], list[str]], Integers]:
        """The layers of `around` and of `weigh` for components.coding.trit_planes, and their integers."""
        around, of_around = layers(self.around, f"{name}.around")
        weigh, of_weigh = layers(self.weigh, f"{name}.weigh")
        return (around, weigh), {**of_around, **of_weigh}
