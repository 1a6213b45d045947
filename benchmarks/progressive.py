"""Seconds of `atc_progressive` to encode and decode a 768x512 photograph, and to decode the first bytes of its file.

The peer is a codec of one rate with the same transforms and the same hyperprior, which codes the same quantised
latents with Gaussian tables and no context. Without a checkpoint the sizes are the paper's and the weights are
untrained, with latents unlike a trained codec's. Run: python -m benchmarks.progressive [--checkpoint FILE]
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from skimage import data

from benchmarks.common import command_line, console, paired, per_second
from components.codecs import checkpoint
from components.codecs.bitstream import parse
from components.codecs.families.cheng2020 import ResidualCodec
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.entropy.hyperprior import HyperPrior

SHARES = (0.1, 0.5, 1.0)  # of the file
ROUNDS = 5


class SingleRate(ResidualCodec):
    """The peer: the transforms and the hyperprior of `atc_progressive` at one rate."""

    name = "single rate"
    attention = True

    def __init__(self, N: int, M: int) -> None:
        super().__init__(N, M, {})
        self.entropy = HyperPrior(M, hyper_channels=N, features=2 * N)


def main() -> None:
    """Print the table."""
    parser = command_line(__doc__)
    parser.add_argument("--checkpoint", type=Path, help="a trained atc_progressive")
    trained = parser.parse_args().checkpoint
    progressive = build("atc_progressive", {}) if trained is None else checkpoint.load(trained)[0]
    N, M = progressive.hyperparameters["N"], progressive.hyperparameters["M"]
    peer = SingleRate(N, M)
    for part in ("g_a", "g_s"):
        getattr(peer, part).load_state_dict(getattr(progressive, part).state_dict())
    x = to_tensor(np.ascontiguousarray(np.tile(data.astronaut(), (1, 2, 1))[:, :768]))
    with torch.no_grad():
        for codec in (peer,) if trained else (peer, progressive):
            codec.train()(x[..., :256, :256])
    peer.eval()
    progressive.eval()
    (theirs,), (ours,) = peer.compress(x), progressive.compress(x)
    table = Table("", "bytes", "s", "single rate, s", "ratio", title=f"N {N}, M {M}, 768x512")

    def add(label: str, size: int, mine: Callable[[], object], other: Callable[[], object]) -> None:
        speeds = paired(lambda: per_second(1, mine), lambda: per_second(1, other), ROUNDS)
        table.add_row(label, str(size), *(f"{1 / speed:.3f}" for speed in speeds))

    add("encode", len(ours), lambda: progressive.compress(x), lambda: peer.compress(x))
    for share in SHARES:
        cut = parse(ours).truncate(int(share * len(ours)))
        add(f"decode {share:.0%}", len(cut), partial(progressive.decompress, [cut]), lambda: peer.decompress([theirs]))
    console.print(table)


if __name__ == "__main__":
    main()
