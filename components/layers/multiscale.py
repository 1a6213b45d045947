"""Pyramid multi-scale convolution, PMSC (paper 000; Nandi and Gandhi 2024, after Pang, Zheng and Fang 2024), in 2-D."""

import torch
from torch import Tensor, nn

from ..errors import RatewrightError

_SHARE = 0.3


class Pmsc(nn.Module):
    """Pyramid multi-scale convolution: (B, C, H, W) to (B, 2C, H, W), the left branch, then the right one.

        x --1x1, BN, ReLU--> phi_1 .. phi_s, C / s channels each
        left:  Y_1 = R(B(Conv(phi_1))), Y_l = R(B(Conv(Y_(l-1) + phi_l))) for l = 2 .. s    (+ concatenates)
        right: Y_s = R(B(Conv(phi_s))), Y_l = R(B(Conv(Y_(l+1) + phi_l))) for l = s - 1 .. 1
        Y = concat(Y_left, Y_right), Y_left and Y_right being Y_1 .. Y_s of the branch

    Conv is 3x3: what is one dimension in the paper's equations is two here. A branch's output is that of all its
    groups, whose receptive fields grow from 3x3 to 2s + 1 either way. The branches take the groups from opposite ends,
    so step k of one does not wait for the other: both are one convolution in two groups.

    Args:
        channels: C.
        groups: s, a divisor of C.

    Raises:
        RatewrightError: C is not a multiple of s.
    """

    def __init__(self, channels: int, groups: int = 4):
        super().__init__()
        if channels % groups:
            raise RatewrightError(f"a PMSC block cannot divide {channels} channels evenly into {groups} groups")
        width = channels // groups
        self.inward = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2 * (width if step == 0 else 2 * width), 2 * width, 3, padding=1, groups=2, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.ReLU(inplace=True),
            )
            for step in range(groups)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2C, H, W)."""
        phi = self.inward(x).chunk(len(self.steps), dim=1)
        left: list[Tensor] = []
        right: list[Tensor] = []
        for step, from_left, from_right in zip(self.steps, phi, reversed(phi), strict=True):
            both = step(torch.cat((*left[-1:], from_left, *right[-1:], from_right), dim=1))
            for branch, made in zip((left, right), both.chunk(2, dim=1), strict=True):
                branch.append(made)
        return torch.cat((*left, *reversed(right)), dim=1)


class PmscBlock(nn.Module):
    """Residual block around a PMSC: x + 0.3 conv1x1(PMSC(x)), C a multiple of four; at first the identity.

    Batch normalisation in the PMSC gives its output unit variance however small the channels of x are. The factor 0.3
    keeps the first steps of training from drowning x.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.pmsc = Pmsc(channels)
        self.outward = nn.Conv2d(2 * channels, channels, 1)
        nn.init.zeros_(self.outward.weight)
        nn.init.zeros_(self.outward.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        out: Tensor = x + _SHARE * self.outward(self.pmsc(x))
        return out
