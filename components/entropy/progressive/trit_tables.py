"""Tables of trits as buffers of a network; components.coding.trit_tables says what they are, and has them in use."""

import math

import torch
from torch import Tensor, nn

from ...coding.fixed_point import UNIT
from ...coding.range_coder import TOTAL
from ...coding.trit_tables import (
    INVERSE_BITS,
    NEVER,
    PER_PLANE,
    PRIORITY_UNIT,
    REACH,
    SCALES,
    SHIFT_BITS,
    SMALLEST_SCALE,
    UNIT_BITS,
    WIDTHS,
)
from ..integers import Integers, stored
from ..relaxation import log_interval_probability, truncated_gaussian_mean

_PER_WIDTH = 16  # columns in the Gaussian's or the interval's width
_SUPPORT = 6.11  # standard deviations on each side that the planes hold: all but 1e-9 of a Gaussian


class TritTableBuffers(nn.Module):
    """The arrays of trit tables, computed once, when a codec is made, and kept in its checkpoint.

    Buffers: as the arrays of components.coding.trit_tables.TritTables.
    """

    def __init__(self) -> None:
        super().__init__()
        sigma = SMALLEST_SCALE * 3 ** (torch.arange(WIDTHS, dtype=torch.float64)[:, None] / PER_PLANE)  # in thirds
        spacing = torch.maximum(sigma, torch.tensor(3.0)) / _PER_WIDTH
        middle = spacing * torch.arange(-REACH, REACH + 1)
        edges = middle[..., None] + torch.tensor([-1.5, -0.5, 0.5, 1.5], dtype=torch.float64)
        low, high = edges[..., :-1], edges[..., 1:]
        scale = sigma[..., None]
        probability = log_interval_probability(low / scale, high / scale).softmax(dim=-1)
        expected = scale * truncated_gaussian_mean(low / scale, high / scale)  # of the value, in each third
        mean = (probability * expected).sum(dim=-1)
        frequencies = 1 + (probability * (TOTAL - 3)).floor().int()
        best = frequencies.argmax(dim=-1, keepdim=True)
        frequencies.scatter_add_(-1, best, TOTAL - frequencies.sum(dim=-1, keepdim=True, dtype=torch.int32))
        bits = (probability * -(frequencies / TOTAL).log2()).sum(dim=-1)
        gained = (probability * (expected - mean[..., None]).square()).sum(dim=-1)
        rank = ((gained / bits).clamp_min(1e-30).log() / PRIORITY_UNIT).round().clamp_min(NEVER)
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("shift", ((mean - middle) / 3 * (1 << SHIFT_BITS)).round().int())
        self.register_buffer("rank", rank.int())
        self.register_buffer("inverse", (3 / spacing[:, 0] * (1 << INVERSE_BITS)).round().int())
        scales = SMALLEST_SCALE * 3 ** (torch.arange(SCALES, dtype=torch.float64) / PER_PLANE)
        planes = (2 * _SUPPORT * scales).log() / math.log(3)
        self.register_buffer("scale", (scales * UNIT).round().int())
        self.register_buffer("planes", planes.ceil().clamp_min(2).int())

    def integers(self) -> Integers:
        """What components.coding.trit_tables.TritTables takes."""
        return {f"trits.{name}": stored(buffer) for name, buffer in self.named_buffers()}


def scale_of(units: Tensor) -> Tensor:
    """The scale in bins that units stand for, as a float."""
    return SMALLEST_SCALE * 3 ** (units / (PER_PLANE << UNIT_BITS))
