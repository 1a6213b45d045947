"""Initial weights from which transforms are invertible from the first step.

Random weights alone take thousands of steps to find an invertible map. Here a convolution starts as a mixing of
channels times a spatial kernel, or as a stage of a Haar wavelet packet, either of which its mirror undoes.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_JITTER = 0.1  # of the usual random initial weights


def initialise(conv: nn.Conv2d | nn.ConvTranspose2d, mixing: Tensor, kernel: Tensor) -> None:
    """Weights `mixing` (out x in, or in x out of a transposed convolution) times a spatial kernel, and some jitter."""
    _fill(conv, mixing[:, :, None, None] * kernel, _JITTER)


def identity_kernel(side: int = 3) -> Tensor:
    """A kernel that passes the middle."""
    kernel = torch.zeros(side, side)
    kernel[side // 2, side // 2] = 1
    return kernel


_PACKET_JITTER = 0.01
# Orthonormal stages would double what is constant each time; like this it grows by the square root of two, and four
# stages give latents of about 1.
_INWARD, _OUTWARD = math.sqrt(0.5), math.sqrt(2.0)
_CHROMA = 3.0  # a chroma band counts as one of this many times the squared frequency


class Band(NamedTuple):
    """A band of a wavelet packet: its frequencies down the columns and along the rows, and its colour, 0 for luma."""

    u: int
    v: int
    colour: int


PIXELS = tuple(Band(0, 0, colour) for colour in range(3))


def haar_packet(widths: Sequence[int], bands: Sequence[Band] = PIXELS, inputs: Sequence[int] = ()) -> list[Tensor]:
    """The stages of a Haar wavelet packet from bands in RGB to luma and two chromas: (widths[k], 4 * inputs[k]) each.

    A stage maps 2x2 blocks (the columns, as pixel_unshuffle orders them) to at most widths[k] bands, those of the
    lowest frequencies; other rows are zero, and columns of inputs that are no band. Rows are orthonormal. Without
    `inputs`, each stage has the outputs of the one before, and the first has the bands.
    """
    stages = []
    for number, (width, count) in enumerate(zip(widths, inputs or (len(bands), *widths), strict=False)):
        children = []
        for parent, (u, v, colour) in enumerate(bands):
            for a, b in product((0, 1), repeat=2):
                # The halves of a band, in the order of frequency: odd bands are mirrored.
                at = 2 * u + (a ^ u & 1), 2 * v + (b ^ v & 1)
                weight = _CHROMA if colour else 1.0
                children.append((weight * (at[0] ** 2 + at[1] ** 2), colour, parent, a, b, at))
        kept = sorted(children)[:width]
        stage = torch.zeros(width, len(bands), 2, 2)
        for row, (_, _, parent, a, b, _) in enumerate(kept):
            stage[row, parent] = 0.5 * torch.tensor([[1.0, (-1) ** b], [(-1) ** a, (-1) ** (a + b)]])
        if number == 0:
            stage = torch.einsum("opyx,pc->ocyx", stage, _opponent(len(bands)))
        stages.append(F.pad(stage, (0, 0, 0, 0, 0, count - stage.shape[1])).flatten(1))
        bands = [Band(*at, colour) for _, colour, _, _, _, at in kept]
    return stages


def _opponent(channels: int) -> Tensor:
    """(channels, channels): RGB triple by triple to luma and two chromas."""
    return torch.kron(torch.eye(channels // 3), opponent_colours())


def opponent_colours() -> Tensor:
    """(3, 3): orthonormal luma and two chromas of RGB, in rows."""
    rows = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
    normalised: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return normalised


def initialise_downsampling(conv: nn.Conv2d, stage: Tensor) -> None:
    """A stage of a packet in a convolution of stride 2, or in one of 1x1 on 2x2 blocks as channels."""
    if conv.kernel_size == (1, 1):
        _fill(conv, _INWARD * stage[:, :, None, None])
    else:
        _fill(conv, _on_blocks(conv, _INWARD * stage))


def initialise_upsampling(conv: nn.Conv2d | nn.ConvTranspose2d, stage: Tensor) -> None:
    """The inverse in a transposed convolution of stride 2, or in one whose output is shuffled into 2x2 blocks."""
    if isinstance(conv, nn.ConvTranspose2d):
        _fill(conv, _on_blocks(conv, _OUTWARD * stage))
    else:
        _fill(conv, _OUTWARD * stage.t()[:, :, None, None] * identity_kernel(conv.kernel_size[0]))


def _on_blocks(conv: nn.Conv2d | nn.ConvTranspose2d, stage: Tensor) -> Tensor:
    """The kernel that looks at 2x2 blocks."""
    assert isinstance(conv.padding, tuple)
    middle = conv.padding[0]
    weight = torch.zeros_like(conv.weight)
    weight[:, :, middle : middle + 2, middle : middle + 2] = stage.view(*weight.shape[:2], 2, 2)
    return weight


def _fill(conv: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, jitter: float = _PACKET_JITTER) -> None:
    noise = nn.init.xavier_normal_(torch.empty_like(conv.weight), gain=jitter)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(weight + noise)
        conv.bias.zero_()
