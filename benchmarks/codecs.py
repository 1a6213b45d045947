"""Speed and size of our codecs with a learned prior. The peers are CompressAI's nearest models.

For each pair, both untrained: training images per second (forward, backward, Adam), seconds per Mpx to encode and to
decode a 768x512 photograph, parameters, kMAC per pixel. Sizes are those of the papers for low rates. With --large, how
our time and peak memory grow from 0.4 to 12 Mpx.

CompressAI is no dependency of the project: pip install --no-deps compressai==1.2.3 torchvision einops pytorch-msssim,
then python -m benchmarks.codecs [--large]. Its import looks for operators of torchvision that a CPU-only torch lacks,
so the benchmark declares them first.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import command_line, console, per_second
from components.codecs.coder import LearnedCoder
from components.codecs.table import build
from components.codecs.tensors import to_rgb, to_tensor
from components.evaluation.complexity import peak_memory_mb

PAIRS: tuple[tuple[str, dict[str, int], str, dict[str, int]], ...] = (
    ("factorized", {"N": 128, "M": 192}, "bmshj2018-factorized", {"N": 128, "M": 192}),
    ("minnen", {"N": 192, "M": 192}, "mbt2018", {"N": 192, "M": 192}),
    ("gmm", {"N": 128}, "cheng2020-anchor", {"N": 128}),
    ("atc", {"N": 128}, "cheng2020-attn", {"N": 128}),
    ("haar_hyper", {}, "mbt2018-mean", {"N": 128, "M": 192}),
)
"""Our codec, its hyper-parameters, CompressAI's model, its hyper-parameters."""
BATCH, STEPS, CORNER = 8, 2, 128
LARGE = ((512, 768), (1024, 1536), (2048, 3072), (2896, 4344))


class Ours:
    """A codec of the table."""

    def __init__(self, name: str, hyperparameters: dict[str, int]):
        self.name, self.model = name, build(name, hyperparameters)

    def prepare_training(self) -> None:
        """Set the memory format as the training loop does."""
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, x: Tensor) -> Tensor:
        """Rate and distortion of a batch."""
        return self.model.loss(x, self.model(x), 0.01).total

    def prepare_coding(self) -> None:
        """Do nothing: our codecs are always ready."""

    def compress(self, x: Tensor) -> Any:
        """Compress a picture."""
        return self.model.compress(x)

    def decompress(self, packed: Any) -> Any:
        """Decompress it."""
        return self.model.decompress(packed)


class Peer:
    """A model of CompressAI's zoo, untrained."""

    def __init__(self, name: str, hyperparameters: dict[str, int]):
        from compressai.zoo.image import model_architectures

        self.name = name
        self.model: Any = model_architectures[name](**hyperparameters)

    def prepare_training(self) -> None:
        """Do nothing."""

    def loss(self, x: Tensor) -> Tensor:
        """CompressAI's RateDistortionLoss, written out."""
        out = self.model(x)
        nats = -sum(likelihood.log().sum() for likelihood in out["likelihoods"].values())
        total: Tensor = 0.01 * 255**2 * (x - out["x_hat"]).square().mean() + nats / np.log(2) / x[:, 0].numel()
        return total

    def prepare_coding(self) -> None:
        """Compute the tables that its coder needs."""
        self.model.update(force=True)

    def compress(self, x: Tensor) -> Any:
        """Compress a picture."""
        return self.model.compress(x)

    def decompress(self, packed: Any) -> Any:
        """Decompress it."""
        return self.model.decompress(packed["strings"], packed["shape"])


class Row(NamedTuple):
    """The figures of one codec."""

    images_per_s: float
    encode_s_per_mpx: float
    decode_s_per_mpx: float
    parameters: int
    encoder_kmac: float
    decoder_kmac: float


def measured(make: Callable[[], Ours | Peer], x: Tensor) -> Row:
    """Measure a codec, with one new model for coding and one for training."""
    coder = make()
    coder.model.eval()
    coder.prepare_coding()
    encode, decode = coding_times(coder, x)
    count = sum(parameter.numel() for parameter in coder.model.parameters())
    return Row(training_rate(make()), encode, decode, count, *coding_kmac(coder, x[..., :CORNER, :CORNER]))


@torch.inference_mode()
def coding_times(coder: Ours | Peer, x: Tensor) -> tuple[float, float]:
    """Seconds per Mpx to encode and to decode, after a warm-up on a corner."""
    coder.decompress(coder.compress(x[..., :CORNER, :CORNER]))
    started = time.perf_counter()
    packed = coder.compress(x)
    encoded = time.perf_counter()
    coder.decompress(packed)
    mpx = x[0, 0].numel() / 1e6
    return (encoded - started) / mpx, (time.perf_counter() - encoded) / mpx


@torch.inference_mode()
def coding_kmac(coder: Ours | Peer, x: Tensor) -> tuple[float, float]:
    """Thousands of multiply-accumulates per pixel of encoding and of decoding."""
    coder.model.requires_grad_(False)  # the counter would look for gradients
    with FlopCounterMode(display=False) as encoder:
        packed = coder.compress(x)
    with FlopCounterMode(display=False) as decoder:
        coder.decompress(packed)
    work = 2 * 1000 * x[0, 0].numel()
    return encoder.get_total_flops() / work, decoder.get_total_flops() / work


def training_rate(trainee: Ours | Peer) -> float:
    """Images per second of forward, backward and Adam, without the first step."""
    model: nn.Module = trainee.model.train()
    trainee.prepare_training()
    x = torch.rand(BATCH, 3, 256, 256)
    if isinstance(trainee, Ours):
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4, fused=isinstance(trainee, Ours))

    def run(steps: int) -> None:
        for _ in range(steps):
            trainee.loss(x).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

    run(1)
    return per_second(BATCH * STEPS, lambda: run(STEPS))


def photograph(height: int, width: int) -> Tensor:
    """(1, 3, height, width): scikit-image's astronaut, mirrored to the size."""
    from skimage import data

    rgb = data.astronaut()
    rgb = np.pad(rgb, ((0, max(0, height - len(rgb))), (0, max(0, width - len(rgb))), (0, 0)), mode="symmetric")
    return to_tensor(np.ascontiguousarray(rgb[:height, :width]))


def main() -> None:
    """Print a row for each codec, and the ratios of each pair."""
    declare_operators()
    x = photograph(512, 768)
    columns = ("codec", "train im/s", "encode s/Mpx", "decode s/Mpx", "parameters", "kMAC/px in", "kMAC/px out")
    table = Table(*columns)
    for name, sizes, peer_name, peer_sizes in PAIRS:
        torch.manual_seed(0)
        mine = measured(lambda name=name, sizes=sizes: Ours(name, sizes), x)  # type: ignore[misc]
        theirs = measured(lambda name=peer_name, sizes=peer_sizes: Peer(name, sizes), x)  # type: ignore[misc]
        for label, row in ((name, mine), (peer_name, theirs)):
            times = (f"{value:.2f}" for value in row[:3])
            table.add_row(label, *times, f"{row.parameters:,}", f"{row.encoder_kmac:.1f}", f"{row.decoder_kmac:.1f}")
        ratios = (
            mine.images_per_s / theirs.images_per_s,
            theirs.encode_s_per_mpx / mine.encode_s_per_mpx,
            theirs.decode_s_per_mpx / mine.decode_s_per_mpx,
        )
        table.add_row("ratio", *(f"{ratio:.1f}x" for ratio in ratios), end_section=True)
    console.print(table)


def large() -> None:
    """Print how time and memory grow with the picture."""
    table = Table("codec", "Mpx", "encode s/Mpx", "decode s/Mpx", "peak MB")
    for coder in (Ours("haar_hyper", {}), Ours("gmm", {"N": 128})):
        coder.model.eval()
        for height, width in LARGE:
            x = photograph(height, width)
            encode, decode = coding_times(coder, x)
            peak = peak_memory_mb(LearnedCoder(coder.model), to_rgb(x))
            memory = "-" if peak is None else f"{peak:.0f}"
            table.add_row(coder.name, f"{height * width / 1e6:.1f}", f"{encode:.2f}", f"{decode:.2f}", memory)
    console.print(table)


def declare_operators() -> None:
    """Declare the operators that torchvision's import looks up in torch."""
    global _library
    _library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


_library: Any = None  # operators exist as long as this object


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("--large", action="store_true", help="time and memory of our codecs by picture size")
    large() if parser.parse_args().large else main()
