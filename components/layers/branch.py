"""The convolutional branches that the codecs of paper 004 are made of."""

import torch
from torch import nn

from components.layers.gdn import Gdn
from components.layers.initial import identity, orthogonal, smooth, start

WIDTHS = (16, 32, 32, 32, 32)  # outputs of the five 3x3 convolutions: "doubled once", 32 in the code
CODE = WIDTHS[-1]


def strides(steps: int) -> list[int]:
    """Strides of the five convolutions for 2 to 4 `steps`: the last two are steps, the others come first.

    Every branch so has its full-width convolutions at the resolution just before the last two halvings
    (1/8 in WCAE), where they cost little and the decoder of the low bands needs them most.
    """
    return [2] * (steps - 2) + [1] * (len(WIDTHS) - steps) + [2, 2]


def branches(inputs: int, steps: int) -> tuple[nn.Sequential, nn.Sequential]:
    """An analysis from (B, inputs, h, w) to (B, 32, h / 2^steps, w / 2^steps), and its mirrored synthesis.

    Analysis: five 3x3 convolutions with GDN between them. Synthesis: one more convolution at the code's own
    resolution, then the mirror, with transposed convolutions for the steps and inverse GDN.

    Together they start as a low-pass pyramid and its interpolation: each convolution mixes channels by an
    orthogonal matrix that its mirror undoes, and smooths where it halves. Random weights alone take
    thousands of steps to find an invertible map.
    """
    channels = (inputs, *WIDTHS)
    analysis: list[nn.Module] = []
    synthesis: list[nn.Module] = []
    for k, stride in enumerate(strides(steps)):
        mixing = orthogonal(channels[k + 1], channels[k])
        down = nn.Conv2d(channels[k], channels[k + 1], 3, stride, padding=1)
        up: nn.Module
        if stride == 1:
            up = nn.Conv2d(channels[k + 1], channels[k], 3, padding=1)
            start(down, mixing, identity())
            start(up, mixing.t(), identity())
        else:
            up = nn.ConvTranspose2d(channels[k + 1], channels[k], 3, stride, padding=1, output_padding=1)
            start(down, mixing, smooth(3))
            start(up, mixing, 4 * smooth(3))
        analysis += [down, Gdn(channels[k + 1])]
        synthesis = [up, Gdn(channels[k], inverse=True), *synthesis]
    first = nn.Conv2d(CODE, CODE, 3, padding=1)
    start(first, torch.eye(CODE), identity())
    return (
        nn.Sequential(*analysis[:-1]),
        nn.Sequential(first, Gdn(CODE, inverse=True), *synthesis[:-1]),
    )
