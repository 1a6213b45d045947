"""The range coder: real bytes over those that training estimates, and symbols per second.

The peer codes the same symbols with constriction's QuantizedGaussian and a mean and a scale for every symbol. It has no
tables that make decoding exact across machines, and does not send the means and scales.
Run: python -m benchmarks.range_coder
"""

import constriction
import numpy as np
import torch

from benchmarks.common import command_line, console, natural_symbols, paired, per_second
from components.entropy.channel_gaussian import ChannelGaussian

CHANNELS, SIDE, ROUNDS = 96, 64, 5


def main() -> None:
    """Print the overhead, and both speeds with their ratios."""
    command_line(__doc__).parse_args()
    symbols = natural_symbols(CHANNELS, SIDE)
    model = ChannelGaussian(CHANNELS)
    data = model.coder.encode_symbols(symbols)
    estimated = model.eval()(torch.from_numpy(symbols)[None]).bits.item() / 8
    side_information = len(model.coder.encode_symbols(symbols[:, :1, :1]))
    console.print(f"range coder, {symbols.size} symbols in {CHANNELS} channels")
    console.print(
        f"  {len(data)} bytes, estimated {estimated:.0f}: {len(data) / estimated - 1:+.3%},"
        f" of which the channels' means and scales at most {side_information} bytes"
    )

    flat = symbols.reshape(CHANNELS, -1)
    means = np.repeat(flat.mean(axis=1), flat.shape[1])
    scales = np.repeat(np.maximum(flat.std(axis=1), 0.2), flat.shape[1])
    gaussian = constriction.stream.model.QuantizedGaussian(-(1 << 12), 1 << 12)

    def peer_encode() -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
        coder = constriction.stream.queue.RangeEncoder()
        coder.encode(flat.ravel(), gaussian, means, scales)
        compressed: np.ndarray[tuple[int, ...], np.dtype[np.uint32]] = coder.get_compressed()
        return compressed

    words = peer_encode()

    def peer_decode() -> None:
        decoded = constriction.stream.queue.RangeDecoder(words).decode(gaussian, means, scales)
        assert np.array_equal(decoded, flat.ravel())

    count = symbols.size
    for label, ours, peer in (
        ("encode", lambda: model.coder.encode_symbols(symbols), peer_encode),
        ("decode", lambda: model.coder.decode_symbols(data, (CHANNELS, SIDE, SIDE)), peer_decode),
    ):
        mine, theirs, ratio = paired(
            lambda ours=ours: per_second(count, ours),  # type: ignore[misc]
            lambda peer=peer: per_second(count, peer),  # type: ignore[misc]
            ROUNDS,
        )
        console.print(
            f"  {label} {mine / 1e6:.1f} M symbols/s, constriction's Gaussian {theirs / 1e6:.1f}, ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
