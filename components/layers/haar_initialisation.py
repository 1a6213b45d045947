"""Initialisation of analysis and synthesis transforms as a Haar wavelet packet and its inverse.

From random weights, training takes thousands of steps to find an invertible map. Here a convolution starts as a channel
mixing times a spatial kernel, or as one stage of a Haar wavelet packet. The mirrored layer starts as its inverse. A
little random noise (jitter) breaks symmetries.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_JITTER = 0.1  # of Xavier's random initial weights


def initialise(conv: nn.Conv2d | nn.ConvTranspose2d, mixing: Tensor, kernel: Tensor) -> None:
    """Set a convolution to a channel mixing times a spatial kernel, plus jitter, and its bias to zero.

    Args:
        conv: the layer that is changed.
        mixing: (out, in) weights between channels; (in, out) for a transposed convolution.
        kernel: (k, k) spatial weights.
    """
    _fill(conv, mixing[:, :, None, None] * kernel, _JITTER)


def identity_kernel(side: int = 3) -> Tensor:
    """(side, side) spatial kernel that copies the centre sample."""
    kernel = torch.zeros(side, side)
    kernel[side // 2, side // 2] = 1
    return kernel


_PACKET_JITTER = 0.01
# Orthonormal stages would double what is constant each time; like this it grows by the square root of two, and four
# stages give latents of about 1.
_INWARD, _OUTWARD = math.sqrt(0.5), math.sqrt(2.0)
_CHROMA = 3.0  # a chroma band counts as one of this many times the squared frequency


class Band(NamedTuple):
    """A band of a wavelet packet.

    u, v: frequency indices down the columns and along the rows. colour: 0 for luma, 1 and 2 for chroma.
    """

    u: int
    v: int
    colour: int


PIXELS = tuple(Band(0, 0, colour) for colour in range(3))
"""The bands of a picture before any transform: R, G and B."""


def haar_packet(widths: Sequence[int], bands: Sequence[Band] = PIXELS, inputs: Sequence[int] = ()) -> list[Tensor]:
    """Matrices of a Haar wavelet packet that keeps the lowest frequencies, from RGB to luma and two chromas.

    A stage splits every band of the previous stage into four. Of these it keeps the widths[k] of lowest frequency,
    where the squared frequency of a chroma band counts three times.

    Args:
        widths: the most bands that each stage keeps, which is its number of rows.
        bands: input bands of the first stage, RGB by RGB.
        inputs: input channels of each stage; by default the bands, then the outputs of the stage before.

    Returns:
        For each stage k a matrix (widths[k], 4 * inputs[k]) for 2x2 blocks whose columns are in pixel_unshuffle's
        order. Rows are orthonormal, or zero where there are fewer bands; columns of inputs that are no band are zero.
    """
    stages = []
    for number, (width, count) in enumerate(zip(widths, inputs or (len(bands), *widths), strict=False)):
        kept = _lowest_children(bands, width)
        stage = torch.zeros(width, len(bands), 2, 2)
        for row, child in enumerate(kept):
            a, b = (-1) ** child.a, (-1) ** child.b
            stage[row, child.parent] = 0.5 * torch.tensor([[1.0, b], [a, a * b]])
        if number == 0:
            stage = torch.einsum("opyx,pc->ocyx", stage, _opponent(len(bands)))
        stages.append(F.pad(stage, (0, 0, 0, 0, 0, count - stage.shape[1])).flatten(1))
        bands = [child.band for child in kept]
    return stages


class _Child(NamedTuple):
    """A quarter of a band after one more stage; children sort by frequency.

    a, b: 1 where 2x2 blocks are differenced down the columns and along the rows, 0 where they are summed.
    """

    squared_frequency: float
    colour: int
    parent: int
    a: int
    b: int
    band: Band


def _lowest_children(bands: Sequence[Band], count: int) -> list[_Child]:
    """The `count` children of lowest frequency among the four of each band."""
    children = []
    for parent, (u, v, colour) in enumerate(bands):
        for a, b in product((0, 1), repeat=2):
            # The halves of a band, in the order of frequency: odd bands are mirrored.
            band = Band(2 * u + (a ^ u & 1), 2 * v + (b ^ v & 1), colour)
            weight = _CHROMA if colour else 1.0
            children.append(_Child(weight * (band.u**2 + band.v**2), colour, parent, a, b, band))
    return sorted(children)[:count]


def _opponent(channels: int) -> Tensor:
    """(channels, channels): luma and two chromas of each RGB triple."""
    return torch.kron(torch.eye(channels // 3), opponent_colours())


def opponent_colours() -> Tensor:
    """(3, 3): orthonormal luma and two chromas of RGB, in rows."""
    rows = torch.tensor([[1.0, 1, 1], [1, 0, -1], [1, -2, 1]])
    normalised: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return normalised


def initialise_downsampling(conv: nn.Conv2d, stage: Tensor) -> None:
    """Set a downsampling layer to a stage of a Haar packet.

    Args:
        conv: a convolution of stride 2, or one of 1x1 that takes 2x2 blocks as channels.
        stage: (outputs, 4 * inputs), from `haar_packet`.
    """
    if conv.kernel_size == (1, 1):
        _fill(conv, _INWARD * stage[:, :, None, None])
    else:
        _fill(conv, _on_blocks(conv, _INWARD * stage))


def initialise_upsampling(conv: nn.Conv2d | nn.ConvTranspose2d, stage: Tensor) -> None:
    """Set an upsampling layer to the inverse of a stage of a Haar packet.

    Args:
        conv: a transposed convolution of stride 2, or one whose output a pixel shuffle turns into 2x2 blocks.
        stage: (inputs, 4 * outputs), from `haar_packet`.
    """
    if isinstance(conv, nn.ConvTranspose2d):
        _fill(conv, _on_blocks(conv, _OUTWARD * stage))
    else:
        _fill(conv, _OUTWARD * stage.t()[:, :, None, None] * identity_kernel(conv.kernel_size[0]))


def _on_blocks(conv: nn.Conv2d | nn.ConvTranspose2d, stage: Tensor) -> Tensor:
    """The weights of a strided convolution that apply `stage` to 2x2 blocks, zero around them."""
    assert isinstance(conv.padding, tuple)
    middle = conv.padding[0]
    weight = torch.zeros_like(conv.weight)
    weight[:, :, middle : middle + 2, middle : middle + 2] = stage.view(*weight.shape[:2], 2, 2)
    return weight


def _fill(conv: nn.Conv2d | nn.ConvTranspose2d, weight: Tensor, jitter: float = _PACKET_JITTER) -> None:
    """Set weights plus jitter, and a bias of zero."""
    noise = nn.init.xavier_normal_(torch.empty_like(conv.weight), gain=jitter)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight.copy_(weight + noise)
        conv.bias.zero_()
