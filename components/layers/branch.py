"""Convolutional branches of the Wavelet CAE (paper 004; Akyazi and Ebrahimi, CVPR Workshops 2019).

Each branch has five 3x3 convolutions with GDN between them, two to four of them with stride 2, and a mirrored
synthesis. The paper has one branch for the finest wavelet bands, one for the middle and one for the coarsest.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from .gdn import Gdn
from .haar_initialisation import (
    Band,
    haar_packet,
    identity_kernel,
    initialise,
    initialise_downsampling,
    initialise_upsampling,
)

WIDTHS = (16, 32, 32, 32, 32)
"""Outputs of the five 3x3 convolutions: the paper says that the number is doubled once and is 32 in the code."""
CODE = WIDTHS[-1]
"""Channels of a branch's code."""


def strides(steps: int) -> list[int]:
    """Strides of the five convolutions of a branch that halves the resolution `steps` times, 2 to 4.

    The last two convolutions have stride 2; further steps come first. So the full-width convolutions of every branch
    work at the resolution before the last two halvings (1/8 in the Wavelet CAE), where they cost little and the
    decoder of the low bands needs them most.
    """
    return [2] * (steps - 2) + [1] * (len(WIDTHS) - steps) + [2, 2]


def branches(bands: Sequence[Band], steps: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Analysis and synthesis of one branch, initialised as a Haar wavelet packet and its inverse.

    Analysis: five 3x3 convolutions with GDN between them. Synthesis: one more convolution at the code's own
    resolution, then the mirror, with transposed convolutions for the steps and inverse GDN. The packet keeps the lowest
    frequencies; from random weights, training takes thousands of steps to find an invertible map.

    Args:
        bands: the wavelet bands that are the input channels, RGB by RGB.
        steps: how many times the resolution is halved, 2 to 4.

    Returns:
        Analysis from (B, len(bands), h, w) to (B, 32, h / 2^steps, w / 2^steps), and synthesis back.
    """
    channels = (len(bands), *WIDTHS)
    halving = [k for k, stride in enumerate(strides(steps)) if stride == 2]
    packet = haar_packet([WIDTHS[k] for k in halving], bands, [channels[k] for k in halving])
    stages = dict(zip(halving, packet, strict=True))
    analysis: list[nn.Module] = []
    synthesis: list[nn.Module] = []
    for k, (inputs, outputs) in enumerate(pairwise(channels)):
        down = nn.Conv2d(inputs, outputs, 3, 2 if k in stages else 1, padding=1)
        up: nn.Module
        if k in stages:
            up = nn.ConvTranspose2d(outputs, inputs, 3, 2, padding=1, output_padding=1)
            initialise_downsampling(down, stages[k])
            initialise_upsampling(up, stages[k])
        else:
            up = nn.Conv2d(outputs, inputs, 3, padding=1)
            initialise(down, torch.eye(outputs, inputs), identity_kernel())
            initialise(up, torch.eye(inputs, outputs), identity_kernel())
        analysis += [down, Gdn(outputs)]
        synthesis = [up, Gdn(inputs, inverse=True), *synthesis]
    first = nn.Conv2d(CODE, CODE, 3, padding=1)
    initialise(first, torch.eye(CODE), identity_kernel())
    return (
        nn.Sequential(*analysis[:-1]),
        nn.Sequential(first, Gdn(CODE, inverse=True), *synthesis[:-1]),
    )
