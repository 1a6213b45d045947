"""Training images per second: our loop against the same model in a plain float32 NCHW loop.

The model has 3 million parameters in the shape of Ballé's factorized-prior codec: four 5x5 convolutions of stride 2
with GDN between them (N = 128, M = 192), and the mirror. Run: python -m benchmarks.training
"""

import tempfile
from itertools import islice, pairwise
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from benchmarks.common import bundled_shards, console, paired, per_second
from components.codecs.autoencoder import GaussianAutoencoder
from components.images.loader import training_batches
from components.layers.gdn import Gdn
from components.training.loop import Row, TrainingConfig, train

STEPS, BATCH, ROUNDS = 6, 8, 3
N, M = 128, 192


class ThreeMillion(GaussianAutoencoder):
    """The model that is timed."""

    name: ClassVar[str] = "three-million"
    stride: ClassVar[int] = 16
    code_channels: ClassVar[int] = M
    code_stride: ClassVar[int] = 16

    def __init__(self) -> None:
        super().__init__()
        down = (3, N, N, N, M)
        analysis: list[nn.Module] = []
        synthesis: list[nn.Module] = []
        for inputs, outputs in pairwise(down):
            analysis += [nn.Conv2d(inputs, outputs, 5, 2, padding=2), Gdn(outputs)]
            up = nn.ConvTranspose2d(outputs, inputs, 5, 2, padding=2, output_padding=1)
            synthesis = [up, Gdn(inputs, inverse=True), *synthesis]
        self.g_a, self.g_s = nn.Sequential(*analysis[:-1]), nn.Sequential(*synthesis[:-1])


class Silent:
    """An observer that says nothing."""

    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Nothing."""

    def on_validation(self, row: Row) -> None:
        """Nothing."""


def ours(shards: Path, work: Path) -> float:
    """Images per second of the loop, the start and the validation left out by timing two lengths."""

    def run(steps: int) -> float:
        config = TrainingConfig(
            batch_size=BATCH, learning_rate=1e-4, lmbda=0.01, steps=steps, validate_every=1000, validation_patches=1
        )
        codec = ThreeMillion()
        state = work / "state"
        state.unlink(missing_ok=True)
        work_done = lambda: train(codec, shards, config, state_path=state, fingerprint="", observer=Silent())  # noqa: E731
        return steps / per_second(steps, work_done)

    return BATCH * STEPS / (run(STEPS + 2) - run(2))


def plain(shards: Path) -> float:
    """Images per second of the loop that one writes first."""
    codec = ThreeMillion().train()
    optimizer = torch.optim.Adam(codec.parameters(), 1e-4)
    batches = training_batches(shards, batch_size=BATCH, seed=0, start_step=0, workers=1)

    def run(steps: int) -> None:
        for batch in islice(batches, steps):
            x = batch.float() / 255
            codec.loss(x, codec(x), 0.01).total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

    run(2)
    return per_second(BATCH * STEPS, lambda: run(STEPS))


def main() -> None:
    """Print the medians and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        shards = bundled_shards(Path(folder) / "shards")
        parameters = sum(parameter.numel() for parameter in ThreeMillion().parameters())
        mine, theirs, ratio = paired(lambda: ours(shards, Path(folder)), lambda: plain(shards), ROUNDS)
    console.print(
        f"training, {parameters / 1e6:.1f} M parameters, batch {BATCH} of 256x256, {torch.get_num_threads()} threads"
    )
    console.print(f"  our loop {mine:.2f} images/s, plain float32 NCHW {theirs:.2f} images/s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
