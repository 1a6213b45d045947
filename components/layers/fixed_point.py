"""Layers whose fixed-point form is exact: components.coding.fixed_point has it, and says why."""

from torch import Tensor, nn


class Gate(nn.Module):
    """Gating with a fixed-point form: half of the channels, each times clamp(m + 1/2, 0, 1) of the other half's m."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2C, H, W), values then masks, to (B, C, H, W)."""
        value, mask = x.chunk(2, dim=1)
        return value * (mask + 0.5).clamp(0, 1)


def leaky_relu() -> nn.LeakyReLU:
    """Leaky ReLU with slope 1/8, a power of two, so that its fixed-point form is exact."""
    return nn.LeakyReLU(0.125)
