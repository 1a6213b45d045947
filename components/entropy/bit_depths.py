"""Codes between 0 and 1, rounded to a few bits, of which any first channels may be sent (paper 003).

The distribution of each channel at each depth is counted while training runs. Counts are integers in the checkpoint,
and tables follow from them by integer arithmetic, so that every machine decodes the same symbols.
"""

import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from components.entropy.range_coder import TOTAL, Ints, SymbolDecoder, SymbolEncoder
from components.entropy.relaxation import EntropyOutput
from components.errors import BitstreamError, RatewrightError

MIDDLE = 0.5
"""What stands for a value that was not sent."""

_DEEPEST = 8
_WIDEST = 4096
_MEMORY = 128  # batches, about, whose counts matter
_ONE = 256  # what a value counts for at first


class OperatingPoint(NamedTuple):
    """How a code is sent: each value in `bits` bits, and the first `width` channels."""

    bits: int
    width: int


class BitDepthModel(nn.Module):
    """Rate of codes (B, C, h, w) in [0, 1], and their coding to bytes.

    Training draws a setting for each image, so that the first channels learn to say what matters most (nested
    dropout: Rippel, Gelbart and Adams 2014) and one checkpoint serves every depth and width. A gain is the number of
    a setting: widths 1 to C at the first of `depths`, then at the next.
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
        """What a gain stands for. Raises BitstreamError for one that there is not."""
        number = int(gain)
        if not 0 <= number < self.channels * len(self.depths):
            raise BitstreamError(f"corrupted bitstream: the gain is {number}, which names no bit depth and width")
        return OperatingPoint(self.depths[number // self.channels], 1 + number % self.channels)

    def forward(self, y: Tensor, gain: float = 0.0) -> EntropyOutput:
        """Noise of one quantiser step and a clamp in training, at drawn settings; rounded at that of `gain` else.

        The paper's noise is half a step wide and only takes away, which rounding does not do.
        """
        with torch.autocast(y.device.type, enabled=False):
            y = y.float()
            if not self.training:
                setting = self.operating_point(gain)
                symbols = self._symbols(y, setting.bits)
                sent = self._sent(y, setting.width)
                y_hat = torch.where(sent, symbols / _top(setting.bits), MIDDLE)
                return EntropyOutput(y_hat, (self._code_lengths(symbols, setting.bits) * sent).sum(dim=1))
            code = y.detach()
            self._remember(code)
            drawn = torch.randint(len(self.depths), (len(y),), device=y.device)
            tops = y.new_tensor([_top(bits) for bits in self.depths])[drawn][:, None, None, None]
            widths = torch.randint(1, self.channels + 1, (len(y), 1, 1, 1), device=y.device)
            sent = self._sent(y, widths)
            y_hat = (y + (torch.rand_like(y) - 0.5) / tops).clamp(0, 1)
            lengths = torch.stack([self._code_lengths(self._symbols(code, bits), bits) for bits in self.depths])
            return EntropyOutput(
                torch.where(sent, y_hat, MIDDLE), (lengths[drawn, torch.arange(len(y))] * sent).sum(dim=1)
            )

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """One section: the number of the setting, and the symbols of y (1, C, h, w)."""
        setting = self.operating_point(gain)
        symbols = self._symbols(y[0].float(), setting.bits).flatten(1).int().cpu().numpy()
        encoder = SymbolEncoder()
        for values, table in zip(symbols[: setting.width], self._tables(setting), strict=True):
            encoder.encode(values, table)
        return (struct.pack("<H", int(gain)) + encoder.finish(),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The rounded code (1, C, h, w), MIDDLE in the channels that were not sent. Raises BitstreamError."""
        if len(sections) != 1 or len(sections[0]) < 2:
            raise BitstreamError("corrupted bitstream: one section with a setting was expected")
        setting = self.operating_point(struct.unpack_from("<H", sections[0])[0])
        decoder = SymbolDecoder(sections[0][2:])
        symbols = np.stack([decoder.decode(shape[1] * shape[2], table) for table in self._tables(setting)])
        y_hat = torch.full((1, *shape), MIDDLE, device=self._counts(setting.bits).device)
        y_hat[0, : setting.width] = torch.from_numpy(symbols).to(y_hat).view(-1, *shape[1:]) / _top(setting.bits)
        return y_hat

    def _sent(self, y: Tensor, width: Tensor | int) -> Tensor:
        """Which channels of y are among the first `width`."""
        return torch.arange(self.channels, device=y.device)[:, None, None] < width

    def _counts(self, bits: int) -> Tensor:
        counts: Tensor = getattr(self, _name(bits))
        return counts

    @torch.no_grad()
    def _remember(self, y: Tensor) -> None:
        """Count the symbols of y at every depth; what was counted before fades."""
        for bits in self.depths:
            counts = self._counts(bits)
            rows = self._symbols(y, bits).long().transpose(0, 1).flatten(1)
            seen = torch.zeros_like(counts).scatter_add_(1, rows, torch.ones_like(rows))
            counts.mul_(_MEMORY - 1).floor_divide_(_MEMORY).add_(_ONE * seen)

    @staticmethod
    def _symbols(y: Tensor, bits: int) -> Tensor:
        return (y.clamp(0, 1) * _top(bits)).round()

    def _tables(self, setting: OperatingPoint) -> Ints:
        """(width, 2^bits) frequencies with sum TOTAL: what rounding left over goes to the most frequent symbol."""
        tables: Ints = self._frequencies(setting.bits)[: setting.width].int().cpu().numpy()
        tables[np.arange(len(tables)), tables.argmax(axis=1)] += TOTAL - tables.sum(axis=1)
        return tables

    def _frequencies(self, bits: int) -> Tensor:
        """(C, 2^bits) positive integers with sums of up to TOTAL, from integers alone."""
        counts = self._counts(bits)
        rest = TOTAL - counts.shape[1]
        return 1 + counts * rest // counts.sum(dim=1, keepdim=True).clamp_min(1)

    def _code_lengths(self, symbols: Tensor, bits: int) -> Tensor:
        """Bits of each of symbols (B, C, h, w)."""
        lengths = math.log2(TOTAL) - self._frequencies(bits).log2()
        by_channel = symbols.long().transpose(0, 1)
        return lengths.gather(1, by_channel.flatten(1)).view(by_channel.shape).transpose(0, 1)


def _top(bits: int) -> int:
    """The largest symbol."""
    return (1 << bits) - 1


def _name(bits: int) -> str:
    return f"counts_of_{bits}_bits"
