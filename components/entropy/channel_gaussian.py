"""Gaussian entropy model with a mean and a scale for each channel of each image, sent as side information.

The entropy model of the Wavelet CAE (paper 004; Akyazi and Ebrahimi, CVPR Workshops 2019, equation 3).

    encoder   symbols --fewest bits--> scale, mean of each channel --> side information --> range coder --> bytes
                 |                          |
                 +----values - mean---------+--> frequency table of scale, fraction of mean --> range coder --> bytes
    decoder   bytes --> scale, mean of each channel --> the same tables --> symbols

Scale and mean are coded as differences from running statistics, which the checkpoint holds, with Gaussian tables of the
same bank. Decoding uses integers alone: rounding the stored statistics to integers is exact.
"""

import math
import struct
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BitstreamError
from ..layers.fixed_point import to_fixed_point
from .escapes import decode_values, encode_values
from .gaussian_tables import FRACTIONS, SCALES, SMALLEST, GaussianTables, table_index
from .range_coder import Ints, SymbolDecoder, SymbolEncoder
from .relaxation import EntropyOutput, add_uniform_noise, gaussian_likelihood, position_bits
from .running_statistics import RunningStatistics


class SideInformation(NamedTuple):
    """Distribution of each channel: (C,) indices of scales in the tables, and (C,) means in quarters of a step."""

    scale: Ints
    mean: Ints


class ChannelGaussian(nn.Module):
    """Rate of a code y (B, C, h, w) with a Gaussian for each image and channel, and its coding to bytes."""

    def __init__(self, channels: int):
        super().__init__()
        self.tables = GaussianTables()
        self.typical = RunningStatistics(channels)

    def forward(self, y: Tensor, gain: float = 1.0) -> EntropyOutput:
        """Quantised code and its estimated rate without side information, in float32.

        Training adds uniform noise of one quantiser step; evaluation rounds. The Gaussian has the mean and the variance
        of the code itself, per image and channel; its integral over a quantisation interval is the likelihood.

        Args:
            y: (B, C, h, w).
            gain: the quantiser step is 1 / gain.
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

    def encode(self, y: Tensor, gain: float) -> tuple[bytes, ...]:
        """Code y (1, C, h, w), quantised with steps of 1 / gain, to one section: the gain as float32, the symbols."""
        symbols = (y[0].float() * gain).round().int().cpu().numpy()
        return (struct.pack("<f", gain) + self.encode_symbols(symbols),)

    def decode(self, sections: tuple[bytes, ...], shape: tuple[int, int, int]) -> Tensor:
        """Inverse of `encode`: quantised code (1, *shape). Raises BitstreamError."""
        if len(sections) != 1 or len(sections[0]) < 4:
            raise BitstreamError("corrupted bitstream: one section with a gain was expected")
        (gain,) = struct.unpack_from("<f", sections[0])
        if not (math.isfinite(gain) and gain > 0):
            raise BitstreamError("corrupted bitstream: the gain is not a positive number")
        symbols = torch.from_numpy(self.decode_symbols(sections[0][4:], shape))
        y_hat: Tensor = symbols.to(self.typical.mean.device, torch.float32)[None] / gain
        return y_hat

    def encode_symbols(self, symbols: Ints) -> bytes:
        """Integer symbols (C, h, w) to bytes. Raises ValueError for symbols beyond 2^18, which no trained codec has."""
        channels = symbols.reshape(len(symbols), -1)
        side = self.fit_side_information(channels)
        encoder = SymbolEncoder()
        self._encode_side(encoder, side)
        for values, scale, mean in zip(channels, side.scale, side.mean, strict=True):
            whole, fraction = _split_mean(mean)
            encode_values(encoder, values - whole, self._table(scale, fraction))
        return encoder.finish()

    def decode_symbols(self, data: bytes, shape: tuple[int, int, int]) -> Ints:
        """Inverse of `encode_symbols`: symbols of that shape. Raises BitstreamError for bytes that no encoder wrote."""
        decoder = SymbolDecoder(data)
        side = self._decode_side(decoder)
        symbols = np.empty((shape[0], shape[1] * shape[2]), dtype=np.int32)
        for channel, (scale, mean) in enumerate(zip(side.scale, side.mean, strict=True)):
            whole, fraction = _split_mean(mean)
            symbols[channel] = decode_values(decoder, symbols.shape[1], self._table(scale, fraction)) + whole
        return symbols.reshape(shape)

    def fit_side_information(self, channels: Ints) -> SideInformation:
        """The scale and the mean that code each row of symbols (C, n) in the fewest bits, the mean near the median."""
        reach = int(self.tables.supports[-1])
        centres: Ints = np.asarray(np.round(np.median(channels, axis=1)), dtype=np.int32)
        placed = np.clip(channels - centres[:, None], -reach, reach) + reach
        width = 2 * reach + 1
        flat = (placed + width * np.arange(len(channels))[:, None]).ravel()
        histograms = np.bincount(flat, minlength=width * len(channels)).reshape(len(channels), width)
        best = (histograms @ self.tables.bits).argmin(axis=1).astype(np.int32)
        scale, fraction = best // FRACTIONS, best % FRACTIONS
        return SideInformation(scale, FRACTIONS * centres + fraction - FRACTIONS // 2)

    def _encode_side(self, encoder: SymbolEncoder, side: SideInformation) -> None:
        """Code one shift of all scales, then differences from the running statistics with the cheapest table."""
        running = self._running_side_information()
        shift = int(np.clip(np.round(np.median(side.scale - running.scale)), -SCALES, SCALES))
        encoder.encode_uniform(np.array([shift + SCALES], dtype=np.int32), 2 * SCALES + 1)
        for deltas in (side.scale - running.scale - shift, side.mean - running.mean):
            table = int(self._scale_of_deltas(deltas))
            encoder.encode_uniform(np.array([table], dtype=np.int32), SCALES)
            encode_values(encoder, deltas, self._table(table, FRACTIONS // 2))

    def _decode_side(self, decoder: SymbolDecoder) -> SideInformation:
        running = self._running_side_information()
        shift = int(decoder.decode_uniform(1, 2 * SCALES + 1)[0]) - SCALES
        parts = []
        for expected in (running.scale + shift, running.mean):
            table = int(decoder.decode_uniform(1, SCALES)[0])
            parts.append(expected + decode_values(decoder, len(expected), self._table(table, FRACTIONS // 2)))
        if parts[0].min() < 0 or parts[0].max() >= SCALES:
            raise BitstreamError("corrupted bitstream: a channel names a table that does not exist")
        return SideInformation(parts[0], parts[1])

    def _running_side_information(self) -> SideInformation:
        """The running statistics in the units of the side information."""
        scale = table_index(to_fixed_point(self.typical.log_scale)).int().cpu().numpy()
        return SideInformation(scale, (self.typical.mean.cpu() * FRACTIONS).round().int().numpy())

    def _table(self, scale: int, fraction: int) -> Ints:
        return self.tables.tables[scale * FRACTIONS + fraction]

    def _scale_of_deltas(self, deltas: Ints) -> int:
        """The scale whose table codes differences (C,) in the fewest bits."""
        reach = int(self.tables.supports[-1])
        placed = np.clip(deltas, -reach, reach) + reach
        return int(self.tables.bits[placed, FRACTIONS // 2 :: FRACTIONS].sum(axis=0).argmin())


def _split_mean(mean: int) -> tuple[int, int]:
    """A mean in quarters of a step as its whole part and the index of its fraction."""
    shifted = int(mean) + FRACTIONS // 2
    return shifted // FRACTIONS, shifted % FRACTIONS
