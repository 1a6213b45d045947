"""Convolutional recurrent cells, the memory of codecs that code residuals in rounds (Toderici et al. 2017)."""

import torch
from torch import Tensor, nn

from .residual import conv3x3

_SMALL_INIT = 0.01


class ConvGru(nn.Module):
    """Convolutional gated recurrent unit, with 3x3 convolutions (Ballas et al. 2016, arXiv 1511.06432)."""

    def __init__(self, channels: int):
        super().__init__()
        self.gates = conv3x3(2 * channels, 2 * channels)
        self.candidate = conv3x3(2 * channels, channels)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Input x and state (B, C, h, w) to the next state."""
        update, reset = torch.sigmoid(self.gates(torch.cat((x, state), dim=1))).chunk(2, dim=1)
        candidate = torch.tanh(self.candidate(torch.cat((x, reset * state), dim=1)))
        out: Tensor = torch.lerp(state, candidate, update)
        return out


class RecurrentResidual(nn.Module):
    """Residual ConvGRU: x + conv1x1(state), where the state follows from x and the rounds before; almost x at first."""

    def __init__(self, channels: int):
        super().__init__()
        self.cell = ConvGru(channels)
        self.told = nn.Conv2d(channels, channels, 1)
        with torch.no_grad():
            for parameter in self.told.parameters():
                parameter.mul_(_SMALL_INIT)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Add what the cell remembers.

        Args:
            x: (B, C, h, w) features of this round.
            state: (B, C, h, w) state after the round before; None in the first round.

        Returns:
            Features and state, (B, C, h, w) both.
        """
        state = self.cell(x, torch.zeros_like(x) if state is None else state)
        return x + self.told(state), state
