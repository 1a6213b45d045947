"""Entropy model of codes in [0, 1] that are rounded to a few bits and of which the first channels may be sent.

The quantiser of the quantised autoencoder (paper 003; Kumar et al.), with counted distributions.

    training     y --U(-step/2, step/2), clamp; random depth and width for each image--> y_hat
                 y --round at every depth--> symbols --> counts of each channel (integers in the checkpoint)
    encoding     y --round to `bits` bits, first `width` channels--> symbols --tables of counts--> range coder --> bytes
    decoding     bytes --the same tables--> symbols / (2^bits - 1), and 0.5 in channels that were not sent

Tables follow from the counts in integer arithmetic, so that every machine decodes the same symbols.
"""

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..coding.range_coder import TOTAL, Ints, SymbolDecoder, SymbolEncoder
from ..errors import BitstreamError, RatewrightError
from .relaxation import EntropyOutput

MIDDLE = 0.5
"""The value of channels that were not sent."""

_DEEPEST = 8
_WIDEST = 4096
_MEMORY = 128  # batches, about, whose counts matter
_ONE = 256  # what one symbol adds to a count; also the initial counts


class OperatingPoint(NamedTuple):
    """How a code is sent: each value in `bits` bits, and the first `width` channels."""

    bits: int
    width: int


class BitDepthModel(nn.Module):
    """Rate of codes y (B, C, h, w) in [0, 1], and their coding to bytes at any depth and width.

    Training draws an operating point for each image, so that the first channels learn to carry the most important
    information (nested dropout: Rippel, Gelbart and Adams 2014) and one checkpoint serves every depth and width. A gain
    is the number of an operating point: widths 1 to C at the first depth, then at the next.

    Args:
        channels: C, at most 4096.
        depths: bits of a value, rising, from 1 to 8.

    Raises:
        RatewrightError: for other channels or depths.
    """

    def __init__(self, channels: int, depths: Sequence[int]):
        super().__init__()
        if not depths or list(depths) != sorted(set(depths)) or not 1 <= depths[0] <= depths[-1] <= _DEEPEST:
            raise RatewrightError(f"bit depths must rise and lie between 1 and {_DEEPEST}, not {list(depths)}")
        if not 1 <= channels <= _WIDEST:
            raise RatewrightError(f"a code has 1 to {_WIDEST} channels, not {channels}")
        self.channels, self.depths = channels, tuple(depths)
        for bits in depths:
            self.register_buffer(_name(bits), torch.full((channels, 1 << bits), _ONE, dtype=torch.int64))

    @property
    def operating_points(self) -> tuple[range, ...]:
        """The gains of each depth, by rising rate."""
        count = self.channels
        return tuple(range(k * count, (k + 1) * count) for k in range(len(self.depths)))

    def operating_point(self, gain: float) -> OperatingPoint:
        """The bit depth and the width that a gain names. Raises BitstreamError where it names none."""
        number = int(gain)
        if not 0 <= number < self.channels * len(self.depths):
            raise BitstreamError(f"corrupted bitstream: the gain is {number}, which names no bit depth and width")
        return OperatingPoint(self.depths[number // self.channels], 1 + number % self.channels)

    def forward(self, y: Tensor, gain: float = 0.0) -> EntropyOutput:
        """Quantised code and its estimated rate, in float32.

        Training adds noise of one quantiser step and clamps, at random operating points. The paper's noise is half a
        step wide and one-sided, which rounding is not.

        Args:
            y: (B, C, h, w).
            gain: the number of the operating point in evaluation.
        """
        with torch.autocast(y.device.type, enabled=False):
            y = y.float()
            return self._forward_training(y) if self.training else self._forward_evaluation(y, gain)

    def _forward_evaluation(self, y: Tensor, gain: float) -> EntropyOutput:
        point = self.operating_point(gain)
        symbols = self._symbols(y, point.bits)
        sent = self._first_channels(y, point.width)
        y_hat = torch.where(sent, symbols / _largest_symbol(point.bits), MIDDLE)
        return EntropyOutput(y_hat, (self._code_lengths(symbols, point.bits) * sent).sum(dim=1))

    def _forward_training(self, y: Tensor) -> EntropyOutput:
        code = y.detach()
        self._update_counts(code)
        depth = torch.randint(len(self.depths), (len(y),), device=y.device)
        largest = y.new_tensor([_largest_symbol(bits) for bits in self.depths])[depth][:, None, None, None]
        widths = torch.randint(1, self.channels + 1, (len(y), 1, 1, 1), device=y.device)
        sent = self._first_channels(y, widths)
        y_hat = (y + (torch.rand_like(y) - 0.5) / largest).clamp(0, 1)
        lengths = torch.stack([self._code_lengths(self._symbols(code, bits), bits) for bits in self.depths])
        bits_sent = lengths[depth, torch.arange(len(y))] * sent
        return EntropyOutput(torch.where(sent, y_hat, MIDDLE), bits_sent.sum(dim=1))

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Code y (1, C, h, w) to one section: the number of the operating point (uint16), then the symbols."""
        point = self.operating_point(gain)
        symbols = self._symbols(y[0].float(), point.bits).flatten(1).int().cpu().numpy()
        encoder = SymbolEncoder()
        for values, table in zip(symbols[: point.width], self._tables(point), strict=True):
            encoder.encode(values, table)
        return (struct.pack("<H", int(gain)) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """Inverse of `encode`: the rounded code (1, *shape), MIDDLE in channels not sent. Raises BitstreamError."""
        if len(sections) != 1 or len(sections[0]) < 2:
            raise BitstreamError("corrupted bitstream: one section with a bit depth and width was expected")
        point = self.operating_point(struct.unpack_from("<H", sections[0])[0])
        decoder = SymbolDecoder(sections[0][2:])
        symbols = np.stack([decoder.decode(shape[1] * shape[2], table) for table in self._tables(point)])
        y_hat = torch.full((1, *shape), MIDDLE, device=self._counts(point.bits).device)
        values = torch.from_numpy(symbols).to(y_hat).view(-1, *shape[1:])
        y_hat[0, : point.width] = values / _largest_symbol(point.bits)
        return y_hat

    def _first_channels(self, y: Tensor, width: Tensor | int) -> Tensor:
        """Mask of the first `width` channels of y."""
        return torch.arange(self.channels, device=y.device)[:, None, None] < width

    def _counts(self, bits: int) -> Tensor:
        counts: Tensor = getattr(self, _name(bits))
        return counts

    @torch.no_grad()
    def _update_counts(self, y: Tensor) -> None:
        """Count the symbols of y at every depth; older counts decay exponentially."""
        for bits in self.depths:
            counts = self._counts(bits)
            rows = self._symbols(y, bits).long().transpose(0, 1).flatten(1)
            new = torch.zeros_like(counts).scatter_add_(1, rows, torch.ones_like(rows))
            counts.mul_(_MEMORY - 1).floor_divide_(_MEMORY).add_(_ONE * new)

    @staticmethod
    def _symbols(y: Tensor, bits: int) -> Tensor:
        return (y.clamp(0, 1) * _largest_symbol(bits)).round()

    def _tables(self, point: OperatingPoint) -> Ints:
        """(width, 2^bits) frequencies with sum TOTAL: the most frequent symbol gets what rounding leaves over."""
        tables: Ints = self._frequencies(point.bits)[: point.width].int().cpu().numpy()
        tables[np.arange(len(tables)), tables.argmax(axis=1)] += TOTAL - tables.sum(axis=1)
        return tables

    def _frequencies(self, bits: int) -> Tensor:
        """(C, 2^bits) positive integers with sums of up to TOTAL, from integers alone."""
        counts = self._counts(bits)
        available = TOTAL - counts.shape[1]
        return 1 + counts * available // counts.sum(dim=1, keepdim=True).clamp_min(1)

    def _code_lengths(self, symbols: Tensor, bits: int) -> Tensor:
        """Bits of each of the symbols (B, C, h, w)."""
        lengths = math.log2(TOTAL) - self._frequencies(bits).log2()
        by_channel = symbols.long().transpose(0, 1)
        return lengths.gather(1, by_channel.flatten(1)).view(by_channel.shape).transpose(0, 1)


def _largest_symbol(bits: int) -> int:
    return (1 << bits) - 1


def _name(bits: int) -> str:
    return f"counts_of_{bits}_bits"
