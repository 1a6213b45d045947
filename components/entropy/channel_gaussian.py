"""The entropy model of paper 004: each channel of the code is Gaussian, with a mean and a scale of its own in
each image, which travel in the stream."""

import math
import struct
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from components.entropy.escapes import decode_values, encode_values
from components.entropy.gaussian_tables import FRACTIONS, SCALES, SMALLEST, GaussianTables, table_index
from components.entropy.range_coder import Ints, SymbolDecoder, SymbolEncoder
from components.entropy.relaxation import EntropyOutput, add_uniform_noise, gaussian_likelihood, position_bits
from components.entropy.running_statistics import RunningStatistics
from components.errors import BitstreamError
from components.layers.fixed_point import to_fixed_point


class SideInformation(NamedTuple):
    """What the stream says of each channel: (C,) table indices, and (C,) means in quarters of a step."""

    scale: Ints
    mean: Ints


class ChannelGaussian(nn.Module):
    """Rate of a code (B, C, H, W), and its coding to bytes.

        encoder: symbols --(fewest bits)--> scale, mean of each channel --> tables --> range coder --> bytes
        decoder: bytes --> scale, mean --> the same tables --> symbols

    The two figures of a channel are coded as differences from typical ones, which training averages and the
    checkpoint holds, with tables of the same bank. Decoding uses integers alone: the typical figures are
    stored floats rounded to integers, which is exact.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.tables = GaussianTables()
        self.typical = RunningStatistics(channels)

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """The quantised code and its estimated bits, side information left out: (B, C, H, W) and (B, H, W), in float32.

        Training adds uniform noise of one quantiser step, otherwise values are rounded to steps of 1 / gain. The
        Gaussian is the code's own, per image and channel, integrated over the step (paper 004, equation 3).
        """
        with torch.autocast(y.device.type, enabled=False):
            y = y.float() * gain
            variance, mean = torch.var_mean(y, dim=(2, 3), correction=0, keepdim=True)
            scale = variance.clamp_min(SMALLEST**2).sqrt()
            if self.training:
                y_hat = add_uniform_noise(y)
                self.typical.update(y)
            else:
                y_hat = y.round()
            return EntropyOutput(y_hat / gain, position_bits(gaussian_likelihood(y_hat - mean, scale)))

    def _running_statistics(self) -> SideInformation:
        scale = table_index(to_fixed_point(self.typical.log_scale)).int().cpu().numpy()
        return SideInformation(scale, (self.typical.mean.cpu() * FRACTIONS).round().int().numpy())

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """One section: the gain as a float32, and the symbols of y (1, C, h, w)."""
        symbols = (y[0].float() * gain).round().int().cpu().numpy()
        return (struct.pack("<f", gain) + self.encode_symbols(symbols),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """The quantised code (1, C, h, w). Raises BitstreamError."""
        if len(sections) != 1 or len(sections[0]) < 4:
            raise BitstreamError("corrupted bitstream: one section with a gain was expected")
        (gain,) = struct.unpack_from("<f", sections[0])
        if not (math.isfinite(gain) and gain > 0):
            raise BitstreamError("corrupted bitstream: the gain is not a positive number")
        symbols = torch.from_numpy(self.decode_symbols(sections[0][4:], shape))
        y_hat: Tensor = symbols.to(self.typical.mean.device, torch.float32)[None] / gain
        return y_hat

    def encode_symbols(self, symbols: Ints) -> bytes:
        """Integer symbols (C, H, W) to bytes. Raises ValueError for symbols beyond 2^18, which no trained codec has."""
        channels = symbols.reshape(len(symbols), -1)
        side = self.describe(channels)
        encoder = SymbolEncoder()
        self._encode_side(encoder, side)
        for values, scale, mean in zip(channels, side.scale, side.mean, strict=True):
            whole, fraction = _split(mean)
            encode_values(encoder, values - whole, self._table(scale, fraction))
        return encoder.finish()

    def decode_symbols(self, data: bytes, shape: tuple[int, int, int]) -> Ints:
        """The symbols (C, H, W) that `encode_symbols` was given. Raises BitstreamError for bytes it did not write."""
        decoder = SymbolDecoder(data)
        side = self._decode_side(decoder)
        symbols = np.empty((shape[0], shape[1] * shape[2]), dtype=np.int32)
        for channel, (scale, mean) in enumerate(zip(side.scale, side.mean, strict=True)):
            whole, fraction = _split(mean)
            symbols[channel] = decode_values(decoder, symbols.shape[1], self._table(scale, fraction)) + whole
        return symbols.reshape(shape)

    def describe(self, channels: Ints) -> SideInformation:
        """The scale and the mean that code each row of (C, n) symbols in the fewest bits."""
        reach = int(self.tables.supports[-1])
        centres: Ints = np.asarray(np.round(np.median(channels, axis=1)), dtype=np.int32)
        placed = np.clip(channels - centres[:, None], -reach, reach) + reach
        width = 2 * reach + 1
        flat = (placed + width * np.arange(len(channels))[:, None]).ravel()
        histograms = np.bincount(flat, minlength=width * len(channels)).reshape(len(channels), width)
        best = (histograms @ self.tables.bits).argmin(axis=1).astype(np.int32)
        scale, fraction = best // FRACTIONS, best % FRACTIONS
        return SideInformation(scale, FRACTIONS * centres + fraction - FRACTIONS // 2)

    def code_length(self, symbols: Ints) -> float:
        """Ideal bits of (C, H, W) symbols under the tables that `encode` chooses, side information left out."""
        channels = symbols.reshape(len(symbols), -1)
        total = 0.0
        for values, scale, mean in zip(channels, *self.describe(channels), strict=True):
            whole, fraction = _split(mean)
            reach = int(self.tables.supports[-1])
            placed = np.clip(values - whole, -reach, reach) + reach
            total += float(self.tables.bits[placed, scale * FRACTIONS + fraction].sum())
        return total

    def _encode_side(self, encoder: SymbolEncoder, side: SideInformation) -> None:
        typical = self._running_statistics()
        shift = int(np.clip(np.round(np.median(side.scale - typical.scale)), -SCALES, SCALES))
        encoder.encode_uniform(np.array([shift + SCALES], dtype=np.int32), 2 * SCALES + 1)
        for deltas in (side.scale - typical.scale - shift, side.mean - typical.mean):
            table = int(self._scale_of_deltas(deltas))
            encoder.encode_uniform(np.array([table], dtype=np.int32), SCALES)
            encode_values(encoder, deltas, self._table(table, FRACTIONS // 2))

    def _decode_side(self, decoder: SymbolDecoder) -> SideInformation:
        typical = self._running_statistics()
        shift = int(decoder.decode_uniform(1, 2 * SCALES + 1)[0]) - SCALES
        parts = []
        for expected in (typical.scale + shift, typical.mean):
            table = int(decoder.decode_uniform(1, SCALES)[0])
            parts.append(expected + decode_values(decoder, len(expected), self._table(table, FRACTIONS // 2)))
        if parts[0].min() < 0 or parts[0].max() >= SCALES:
            raise BitstreamError("corrupted bitstream: a channel names a table that does not exist")
        return SideInformation(parts[0], parts[1])

    def _table(self, scale: int, fraction: int) -> Ints:
        return self.tables.tables[scale * FRACTIONS + fraction]

    def _scale_of_deltas(self, deltas: Ints) -> int:
        reach = int(self.tables.supports[-1])
        placed = np.clip(deltas, -reach, reach) + reach
        return int(self.tables.bits[placed, FRACTIONS // 2 :: FRACTIONS].sum(axis=0).argmin())


def _split(mean: int) -> tuple[int, int]:
    """A mean in quarters as its whole part and the index of its fraction."""
    shifted = int(mean) + FRACTIONS // 2
    return shifted // FRACTIONS, shifted % FRACTIONS
