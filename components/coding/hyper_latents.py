"""Coding of hyper-latents: components.entropy.hyper_latents in use, in integers.

z --round--> z_hat ==> range coder (channel tables)
              |
             h_s --> psi, features for the distribution of y
"""

from collections.abc import Sequence

import numpy as np

from .blas import one_blas_thread
from .channel_tables import ChannelTables
from .fixed_point import UNIT, Arrays, Network, Values
from .range_coder import Ints, PrefixDecoder, SymbolDecoder, SymbolEncoder

STRIDE = 4
"""Latents to hyper-latents: the ratio of their resolutions."""


class HyperLatentsCoder:
    """Hyper-latents z (N, h / 4, w / 4) to bytes and back, and to psi (F, h, w) in fixed point.

    Arrays: prior, the channel tables, and those of the network h_s.
    """

    def __init__(self, h_s: Sequence[str], arrays: Arrays):
        """Raises OverflowError for weights that are too large for exact sums."""
        self._prior = ChannelTables(arrays["prior"].astype(np.int32))
        self._h_s = Network(h_s, arrays)

    def encode(self, encoder: SymbolEncoder, z: Values) -> Values:
        """Round z and code it; psi."""
        z_hat = np.round(z)
        self._prior.encode(encoder, _symbols(z_hat))
        return self._features(z_hat)

    def estimate(self, z: Values) -> tuple[Values, Values]:
        """What `encode` sends of z, without coding it: psi, and the bits spread over its positions (h, w)."""
        z_hat = np.round(z)
        bits = self._prior.bits(_symbols(z_hat)).sum(axis=0).reshape(z.shape[1:])
        return self._features(z_hat), np.kron(bits, np.full((STRIDE, STRIDE), STRIDE**-2))

    def decode(self, decoder: SymbolDecoder, height: int, width: int) -> Values:
        """psi, for latents of `height` by `width`. Raises BitstreamError."""
        return self._of_symbols(self._prior.decode(decoder, height * width // STRIDE**2), height, width)

    def decode_prefix(self, decoder: PrefixDecoder, height: int, width: int, missing: Ints) -> tuple[Values, bool]:
        """`decode` from a prefix.

        Args:
            decoder: of the prefix.
            height: of the latents.
            width: of the latents.
            missing: (N,) what stands in a channel that the prefix does not hold.

        Returns:
            psi, and whether the prefix holds all of z.
        """
        symbols, complete = self._prior.decode_prefix(decoder, height * width // STRIDE**2, missing)
        return self._of_symbols(symbols, height, width), complete

    def _of_symbols(self, symbols: Ints, height: int, width: int) -> Values:
        return self._features(symbols.reshape(-1, height // STRIDE, width // STRIDE).astype(np.float64))

    def _features(self, z_hat: Values) -> Values:
        with one_blas_thread():
            return self._h_s(z_hat * UNIT)


def _symbols(z_hat: Values) -> Ints:
    return z_hat.reshape(len(z_hat), -1).astype(np.int32)
