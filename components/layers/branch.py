"""The convolutional branches that the codecs of paper 004 are made of."""

import torch
from torch import Tensor, nn

from components.layers.gdn import Gdn

WIDTHS = (16, 32, 32, 32, 32)  # outputs of the five 3x3 convolutions: "doubled once", 32 in the code
CODE = WIDTHS[-1]

_BINOMIAL = torch.tensor([1.0, 2.0, 1.0])
_JITTER = 0.1  # of the usual random initial weights


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
        mixing = nn.init.orthogonal_(torch.empty(channels[k + 1], channels[k]))
        down = nn.Conv2d(channels[k], channels[k + 1], 3, stride, padding=1)
        up: nn.Module
        if stride == 1:
            up = nn.Conv2d(channels[k + 1], channels[k], 3, padding=1)
            _initialise(down, mixing, _identity())
            _initialise(up, mixing.t(), _identity())
        else:
            up = nn.ConvTranspose2d(channels[k + 1], channels[k], 3, stride, padding=1, output_padding=1)
            _initialise(down, mixing, torch.outer(_BINOMIAL, _BINOMIAL) / 16)
            _initialise(up, mixing, torch.outer(_BINOMIAL, _BINOMIAL) / 4)
        analysis += [down, Gdn(channels[k + 1])]
        synthesis = [up, Gdn(channels[k], inverse=True), *synthesis]
    first = nn.Conv2d(CODE, CODE, 3, padding=1)
    _initialise(first, torch.eye(CODE), _identity())
    return (
        nn.Sequential(*analysis[:-1]),
        nn.Sequential(first, Gdn(CODE, inverse=True), *synthesis[:-1]),
    )


def _identity() -> Tensor:
    kernel = torch.zeros(3, 3)
    kernel[1, 1] = 1
    return kernel


def _initialise(conv: nn.Conv2d | nn.ConvTranspose2d, mixing: Tensor, kernel: Tensor) -> None:
    """Weights `mixing` (out x in, or in x out of a transposed convolution) times a 3x3 kernel, and some jitter."""
    noise = nn.init.xavier_normal_(torch.empty_like(conv.weight), gain=_JITTER)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(mixing[:, :, None, None] * kernel + noise)
        conv.bias.zero_()
