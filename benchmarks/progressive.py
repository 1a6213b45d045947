"""`atc_progressive` against the codec that has its transforms and its hyperprior, and one rate.

python -m benchmarks.progressive [CHECKPOINT of atc_progressive]: seconds to encode and to decode a 768x512
photograph, and to decode first bytes of its file. Without a checkpoint sizes are the paper's and weights new, whose
latents are like none of a trained codec. The peer codes what the same quantiser gives, with Gaussian tables and no
context.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.table import Table
from skimage import data

from benchmarks.common import console, paired, per_second
from components.codecs import checkpoint
from components.codecs.bitstream import parse
from components.codecs.families.cheng2020 import ResidualCodec
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.entropy.hyperprior import HyperPrior

SHARES = (0.1, 0.5, 1.0)  # of the file
ROUNDS = 5


class SingleRate(ResidualCodec):
    """The peer."""

    name = "single rate"
    attention = True

    def __init__(self, N: int, M: int) -> None:
        super().__init__(N, M, {})
        self.entropy = HyperPrior(M, hyper_channels=N, features=2 * N)


def main() -> None:
    """Print the table."""
    progressive = checkpoint.load(Path(sys.argv[1]))[0] if len(sys.argv) > 1 else build("atc_progressive", {})
    N, M = progressive.hyperparameters["N"], progressive.hyperparameters["M"]
    peer = SingleRate(N, M)
    for part in ("g_a", "g_s"):
        getattr(peer, part).load_state_dict(getattr(progressive, part).state_dict())
    x = to_tensor(np.ascontiguousarray(np.tile(data.astronaut(), (1, 2, 1))[:, :768]))
    with torch.no_grad():
        for codec in (peer, progressive)[: 1 if len(sys.argv) > 1 else 2]:
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
