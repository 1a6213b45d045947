"""The distributions that a hyperprior gives latents: a Gaussian for each element, or a mixture of them.

Both are two things. In training they are densities with gradients. In use they are integers: parameters in the fixed
point of exact networks name static tables, or are turned into frequencies without a float.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from components.entropy.escapes import decode_escaped, decode_values, encode_escaped, encode_values
from components.entropy.gain import FACTOR_BITS, Quantiser
from components.entropy.gaussian_tables import FRACTIONS, SCALES, SMALLEST, GaussianTables, table_index
from components.entropy.mixture_tables import Batch, MixtureTables
from components.entropy.range_coder import Ints, SymbolDecoder, SymbolEncoder
from components.entropy.relaxation import gaussian_likelihood, lower_bound
from components.layers.fixed_point import rounding_shift

_LARGEST_LOG_SCALE = 10.0


class GaussianConditional(nn.Module):
    """Mean and logarithm of the scale for each element; its symbol is the rounded distance from the mean."""

    parameters_each: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__()
        self.tables = GaussianTables()

    def from_statistics(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """The parameters (2C,) of elements with these figures (C,) of their channel."""
        return torch.cat((mean, log_scale))

    def centre(self, parameters: Tensor) -> Tensor:
        """What symbols are counted from."""
        return parameters.chunk(2, dim=1)[0]

    def likelihood(self, parameters: Tensor, y: Tensor, gain: Tensor) -> Tensor:
        """The probabilities of y (B, C, h, w), quantised with steps of 1 / gain, given (B, 2C, h, w)."""
        mean, log_scale = parameters.chunk(2, dim=1)
        return quantised_likelihood(y, mean, log_scale, gain)

    def encode(self, encoder: SymbolEncoder, quantiser: Quantiser, symbols: Tensor, parameters: Tensor) -> Tensor:
        """Code whole steps from the centre (1, C, h, w), float64; the latents, in fixed point like the parameters."""
        mean, table = self._mean_and_table(parameters, quantiser)
        for number, where in _group_by_table(table):
            encode_values(encoder, symbols.flatten().int().cpu().numpy()[where], self._table(number))
        return mean + quantiser.dequantise(symbols)

    def decode(self, decoder: SymbolDecoder, quantiser: Quantiser, parameters: Tensor) -> Tensor:
        """The inverse of `put`. Raises BitstreamError."""
        mean, table = self._mean_and_table(parameters, quantiser)
        symbols = np.empty(mean.numel(), dtype=np.int32)
        for number, where in _group_by_table(table):
            symbols[where] = decode_values(decoder, len(where), self._table(number))
        return mean + quantiser.dequantise(torch.from_numpy(symbols).to(mean.device).view(mean.shape))

    def _mean_and_table(self, parameters: Tensor, quantiser: Quantiser) -> tuple[Tensor, Tensor]:
        mean, log_scale = parameters.chunk(2, dim=1)
        return mean, table_index(log_scale, quantiser.shift)

    def _table(self, number: int) -> Ints:
        return self.tables.tables[number * FRACTIONS + FRACTIONS // 2]


class GaussianMixtureConditional(nn.Module):
    """`components` Gaussians for each element, with weights; its symbol is the rounded element itself."""

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.parameters_each = 3 * components
        self.tables = MixtureTables()

    def from_statistics(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """The parameters (3KC,) of elements with these figures (C,) of their channel, in every component."""
        return torch.cat([each.repeat(self.components) for each in (torch.zeros_like(mean), mean, log_scale)])

    def centre(self, parameters: Tensor) -> Tensor:
        """Zero."""
        return parameters.new_zeros(())

    def likelihood(self, parameters: Tensor, y: Tensor, gain: Tensor) -> Tensor:
        """The probabilities of y (B, C, h, w), quantised with steps of 1 / gain, given (B, 3KC, h, w)."""
        logits, means, log_scales = self._split(parameters)
        mass = quantised_likelihood(y[:, None], means, log_scales, gain[:, None])
        return (logits.softmax(dim=1) * mass).sum(dim=1)

    def encode(self, encoder: SymbolEncoder, quantiser: Quantiser, symbols: Tensor, parameters: Tensor) -> Tensor:
        """Code whole steps from the centre (1, C, h, w), float64; the latents, in fixed point like the parameters."""
        flat = symbols.flatten().int().cpu().numpy()
        for batch in self._batches(parameters, quantiser):
            values = flat[batch.where] - batch.first
            inside = (values >= 0) & (values < batch.width)
            encoder.encode_each(np.where(inside, values, batch.width).astype(np.int32), batch.frequencies)
            encode_escaped(encoder, flat[batch.where][~inside])
        return quantiser.dequantise(symbols)

    def decode(self, decoder: SymbolDecoder, quantiser: Quantiser, parameters: Tensor) -> Tensor:
        """The inverse of `put`. Raises BitstreamError."""
        channels = parameters.shape[1] // self.parameters_each
        symbols = np.empty(channels * parameters[0, 0].numel(), dtype=np.int32)
        for batch in self._batches(parameters, quantiser):
            values = decoder.decode_each(batch.frequencies)
            escaped = values == batch.width
            values += batch.first
            values[escaped] = decode_escaped(decoder, int(escaped.sum()))
            symbols[batch.where] = values
        shape = (1, channels, *parameters.shape[2:])
        return quantiser.dequantise(torch.from_numpy(symbols).to(parameters.device).view(shape))

    def _split(self, parameters: Tensor) -> tuple[Tensor, ...]:
        """Logits, means and log scales, (B, K, C, h, w) each."""
        shape = (len(parameters), self.components, -1, *parameters.shape[2:])
        return tuple(part.reshape(shape) for part in parameters.chunk(3, dim=1))

    def _batches(self, parameters: Tensor, quantiser: Quantiser) -> Iterator[Batch]:
        logits, means, log_scales = self._split(parameters)
        scaled = rounding_shift(means * quantiser.gain, FACTOR_BITS)
        parts = (logits, scaled, table_index(log_scales, quantiser.shift))
        return self.tables.batches(*(_integers(part) for part in parts))


def _integers(part: Tensor) -> NDArray[np.int64]:
    """(1, K, C, h, w) to (K, n)."""
    out: NDArray[np.int64] = part[0].flatten(1).cpu().numpy().astype(np.int64)
    return out


def _group_by_table(table: Tensor) -> list[tuple[int, NDArray[np.int64]]]:
    """Each table in use with the places of its elements, in order."""
    flat = table.flatten().cpu().numpy().astype(np.int16)
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=SCALES)
    pieces = np.split(order, np.cumsum(counts)[:-1])
    return [(number, piece) for number, piece in enumerate(pieces) if len(piece)]


def quantised_likelihood(y: Tensor, mean: Tensor, log_scale: Tensor, gain: Tensor) -> Tensor:
    """The probability of the quantiser's interval around y."""
    scale = lower_bound(log_scale.clamp(max=_LARGEST_LOG_SCALE).exp() * gain, SMALLEST)
    return gaussian_likelihood((y - mean) * gain, scale)
