"""Training images per second of our loop. The peer is the same model in a plain PyTorch loop.

The model has 3 million parameters in the shape of the factorized-prior codec of Ballé et al. (2018): four 5x5
convolutions of stride 2 with GDN between them (N = 128, M = 192), and the mirror image of these. The peer trains it in
float32 NCHW, with GDN as a 1x1 convolution and autograd's gradient. The gain of bfloat16 depends on the processor: its
kernels need AMX or AVX512-BF16, and without these our loop uses float32. Run: python -m benchmarks.training
"""

import tempfile
from itertools import islice, pairwise
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from benchmarks.common import Clock, bundled_shards, command_line, console, paired, per_second
from components.codecs.families.gaussian_autoencoder import GaussianAutoencoder
from components.data.loader import training_batches, validation_batches
from components.data.shard_reader import Shards
from components.layers.gdn import Gdn
from components.training.config import TrainingConfig
from components.training.forward import as_float, to_channels_last
from components.training.loop import train
from components.training.precision import Precision, fastest_precision

STEPS, BATCH, ROUNDS, LMBDA = 4, 8, 3, 0.01
N, M = 128, 192


class PlainGdn(Gdn):
    """GDN with the same function and parameters, and autograd's gradient."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        weight = self.gamma_root.square()[:, :, None, None]
        pool = nn.functional.conv2d(x.square(), weight, self.beta_root.square()).sqrt()
        return x * pool if self.inverse else x / pool


class ThreeMillion(GaussianAutoencoder):
    """The model of this benchmark."""

    name: ClassVar[str] = "three-million"
    stride = 16
    latent_stride = 16

    def __init__(self, gdn: type[Gdn] = Gdn) -> None:
        super().__init__(M)
        down = (3, N, N, N, M)
        analysis: list[nn.Module] = []
        synthesis: list[nn.Module] = []
        for inputs, outputs in pairwise(down):
            analysis += [nn.Conv2d(inputs, outputs, 5, 2, padding=2), gdn(outputs)]
            up = nn.ConvTranspose2d(outputs, inputs, 5, 2, padding=2, output_padding=1)
            synthesis = [up, gdn(inputs, inverse=True), *synthesis]
        self.g_a, self.g_s = nn.Sequential(*analysis[:-1]), nn.Sequential(*synthesis[:-1])


def ours(shards: Shards, work: Path, precision: Precision) -> float:
    """Images per second of our loop, without its first step."""
    config = TrainingConfig(
        batch_size=BATCH,
        learning_rate=1e-4,
        lmbda=LMBDA,
        steps=STEPS + 1,
        precision=precision,
        validate_every=1000,
        validation_patches=1,
    )
    state, clock = work / "state", Clock()
    state.unlink(missing_ok=True)
    train(ThreeMillion(), shards, config, state_path=state, fingerprint="", callback=clock)
    return clock.rate(BATCH)


def plain(shards: Shards) -> float:
    """Images per second of the plain loop, without its first step."""
    codec = ThreeMillion(PlainGdn).train()
    optimizer = torch.optim.Adam(codec.parameters(), 1e-4)
    batches = training_batches(shards, batch_size=BATCH, seed=0, start_step=0, workers=1)

    def run(steps: int) -> None:
        for batch in islice(batches, steps):
            x = batch.patches.float() / 255
            codec.loss(x, codec(x), LMBDA).total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

    run(1)
    return per_second(BATCH * STEPS, lambda: run(STEPS))


def main() -> None:
    """Print the medians and the ratio."""
    command_line(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shards = Shards(str(bundled_shards(Path(folder) / "shards")))
        codec = ThreeMillion()
        to_channels_last(codec)
        batch = as_float(validation_batches(shards, batch_size=BATCH, limit=BATCH)[0], torch.device("cpu"))
        precision = fastest_precision(codec, batch, LMBDA)
        mine, theirs, ratio = paired(lambda: ours(shards, Path(folder), precision), lambda: plain(shards), ROUNDS)
    parameters = sum(parameter.numel() for parameter in codec.parameters())
    console.print(
        f"training, {parameters / 1e6:.1f} M parameters, batch {BATCH} of 256x256, {torch.get_num_threads()} threads, "
        f"bfloat16 in hardware: {'yes' if _bf16_kernels() else 'no'}"
    )
    console.print(f"  our loop ({precision}) {mine:.2f} images/s, plain float32 NCHW {theirs:.2f}, ratio {ratio:.2f}")


def _bf16_kernels() -> bool:
    """Whether this processor has instructions for bfloat16."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


if __name__ == "__main__":
    main()
