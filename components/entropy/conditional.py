"""Conditional distributions of latents given a hyperprior: a Gaussian, or a mixture of Gaussians, for each element.

In training they are likelihoods with gradients (Ballé et al. 2018; mixtures: Cheng et al. 2020). In coding they are
integers: parameters in fixed point (components.layers.fixed_point) select stored tables, or become frequencies in
integer arithmetic.

Shapes: latents (B, C, h, w); parameters (B, parameters_each * C, h, w).
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..layers.fixed_point import rounding_shift
from .escapes import decode_escaped, decode_values, encode_escaped, encode_values
from .gain import FACTOR_BITS, Quantiser
from .gaussian_tables import FRACTIONS, SCALES, SMALLEST, GaussianTables, table_index
from .mixture_tables import Batch, MixtureTables
from .range_coder import Ints, SymbolDecoder, SymbolEncoder
from .relaxation import gaussian_likelihood, lower_bound

_LARGEST_LOG_SCALE = 10.0


class GaussianConditional(nn.Module):
    """A Gaussian for each element; its symbol is the distance from the mean in quantiser steps, rounded.

    Parameters: means (C), then logarithms of scales (C).
    """

    parameters_each: ClassVar[int] = 2

    def __init__(self) -> None:
        super().__init__()
        self.tables = GaussianTables()

    def from_statistics(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters (2C,) of elements that are distributed as their channel is: mean and log-scale (C,)."""
        return torch.cat((mean, log_scale))

    def centre(self, parameters: Tensor) -> Tensor:
        """The value of symbol zero: the mean (B, C, h, w)."""
        return parameters.chunk(2, dim=1)[0]

    def shifted(self, parameters: Tensor, mean: Tensor) -> Tensor:
        """Parameters (B, 2C, h, w) with `mean` (B, C, h, w) added to the means."""
        means, log_scales = parameters.chunk(2, dim=1)
        return torch.cat((means + mean, log_scales), dim=1)

    def likelihood(self, parameters: Tensor, y: Tensor, gain: Tensor) -> Tensor:
        """Probability of the quantisation interval around y.

        Args:
            parameters: (B, 2C, h, w).
            y: (B, C, h, w).
            gain: (B, C, 1, 1); the quantiser step is 1 / gain.

        Returns:
            (B, C, h, w).
        """
        mean, log_scale = parameters.chunk(2, dim=1)
        return quantised_likelihood(y, mean, log_scale, gain)

    def encode(self, encoder: SymbolEncoder, quantiser: Quantiser, symbols: Tensor, parameters: Tensor) -> Tensor:
        """Code symbols and return the latents that the decoder will see.

        Args:
            encoder: takes the symbols, table by table.
            quantiser: the quantiser of each channel.
            symbols: (1, C, h, w) whole steps from the centre, in float64.
            parameters: (1, 2C, h, w) in fixed point.

        Returns:
            Quantised latents (1, C, h, w) in fixed point.
        """
        mean, table = self._mean_and_table(parameters, quantiser)
        for number, indices in _group_by_table(table):
            encode_values(encoder, symbols.flatten().int().cpu().numpy()[indices], self._table(number))
        return mean + quantiser.dequantise(symbols)

    def decode(self, decoder: SymbolDecoder, quantiser: Quantiser, parameters: Tensor) -> Tensor:
        """Inverse of `encode`: quantised latents (1, C, h, w) in fixed point. Raises BitstreamError."""
        mean, table = self._mean_and_table(parameters, quantiser)
        symbols = np.empty(mean.numel(), dtype=np.int32)
        for number, indices in _group_by_table(table):
            symbols[indices] = decode_values(decoder, len(indices), self._table(number))
        return mean + quantiser.dequantise(torch.from_numpy(symbols).to(mean.device).view(mean.shape))

    def _mean_and_table(self, parameters: Tensor, quantiser: Quantiser) -> tuple[Tensor, Tensor]:
        mean, log_scale = parameters.chunk(2, dim=1)
        return mean, table_index(log_scale, quantiser.shift)

    def _table(self, number: int) -> Ints:
        return self.tables.tables[number * FRACTIONS + FRACTIONS // 2]


class GaussianMixtureConditional(nn.Module):
    """A mixture of K Gaussians for each element (Cheng et al. 2020); its symbol is the element in steps, rounded.

    Parameters: logits of the weights (K * C), means (K * C), logarithms of scales (K * C).
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.parameters_each = 3 * components
        self.tables = MixtureTables()

    def from_statistics(self, mean: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters (3KC,) of elements that are distributed as their channel is, in every component."""
        return torch.cat([each.repeat(self.components) for each in (torch.zeros_like(mean), mean, log_scale)])

    def centre(self, parameters: Tensor) -> Tensor:
        """The value of symbol zero: zero."""
        return parameters.new_zeros(())

    def shifted(self, parameters: Tensor, mean: Tensor) -> Tensor:
        """Parameters (B, 3KC, h, w) with `mean` (B, C, h, w) added to the means of every component."""
        logits, means, log_scales = parameters.chunk(3, dim=1)
        return torch.cat((logits, means + mean.repeat(1, self.components, 1, 1), log_scales), dim=1)

    def likelihood(self, parameters: Tensor, y: Tensor, gain: Tensor) -> Tensor:
        """See GaussianConditional.likelihood; parameters are (B, 3KC, h, w)."""
        logits, means, log_scales = self._split(parameters)
        mass = quantised_likelihood(y[:, None], means, log_scales, gain[:, None])
        return (logits.softmax(dim=1) * mass).sum(dim=1)

    def encode(self, encoder: SymbolEncoder, quantiser: Quantiser, symbols: Tensor, parameters: Tensor) -> Tensor:
        """See GaussianConditional.encode; parameters are (1, 3KC, h, w)."""
        flat = symbols.flatten().int().cpu().numpy()
        for batch in self._batches(parameters, quantiser):
            values = flat[batch.indices] - batch.first
            inside = (values >= 0) & (values < batch.width)
            encoder.encode_each(np.where(inside, values, batch.width).astype(np.int32), batch.frequencies)
            encode_escaped(encoder, flat[batch.indices][~inside])
        return quantiser.dequantise(symbols)

    def decode(self, decoder: SymbolDecoder, quantiser: Quantiser, parameters: Tensor) -> Tensor:
        """Inverse of `encode`: quantised latents (1, C, h, w) in fixed point. Raises BitstreamError."""
        channels = parameters.shape[1] // self.parameters_each
        symbols = np.empty(channels * parameters[0, 0].numel(), dtype=np.int32)
        for batch in self._batches(parameters, quantiser):
            values = decoder.decode_each(batch.frequencies)
            escaped = values == batch.width
            values += batch.first
            values[escaped] = decode_escaped(decoder, int(escaped.sum()))
            symbols[batch.indices] = values
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
        return self.tables.batches(*(_flat_integers(part) for part in parts))


def quantised_likelihood(y: Tensor, mean: Tensor, log_scale: Tensor, gain: Tensor) -> Tensor:
    """Probability of the quantisation interval of width 1 / gain around y under N(mean, exp(log_scale)).

    Scales are at most exp(10), and at least 0.11 quantiser steps. All arguments broadcast.
    """
    scale = lower_bound(log_scale.clamp(max=_LARGEST_LOG_SCALE).exp() * gain, SMALLEST)
    return gaussian_likelihood((y - mean) * gain, scale)


def _flat_integers(part: Tensor) -> NDArray[np.int64]:
    """(1, K, C, h, w) to (K, n)."""
    out: NDArray[np.int64] = part[0].flatten(1).cpu().numpy().astype(np.int64)
    return out


def _group_by_table(table: Tensor) -> list[tuple[int, NDArray[np.int64]]]:
    """Each table in use with the flat indices of its elements, in order."""
    flat = table.flatten().cpu().numpy().astype(np.int16)
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat, minlength=SCALES)
    pieces = np.split(order, np.cumsum(counts)[:-1])
    return [(number, piece) for number, piece in enumerate(pieces) if len(piece)]
