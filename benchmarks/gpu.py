"""Training on a GPU: speed and utilisation, and whether GPU and processor decode each other's streams exactly.

For `haar_hyper`, `gmm` and `wcae` at the sizes of profiles/real.yaml:

- Images per second of our loop (a TrainingJob with its loader, bf16-mixed, channels last). The peers are the same codec
  in a plain float32 NCHW loop (TF32 in convolutions, torch's default), and CompressAI's nearest model in the loop of
  its training script, if it is installed (see benchmarks/codecs.py; torchvision has to fit this build of torch). All
  read the same patches with our loader. With --compile, our loop with torch.compile against that without.
- The share of time in which the loop waits for data, from the second step on; the goal is less than 5 %. Loaders read
  ahead during the first step, so a run of few steps shows too small a share.
- Model FLOP utilisation: operations of a step's convolutions and matrix products, forward and backward, over its time;
  as a share of the device's peak, and of the rate of a large matrix product in the same precision.
- Exactness: whether streams that the briefly trained codec wrote on the GPU decode to the same latents on the processor
  and on the GPU, and the other way round.

Run: python -m benchmarks.gpu [--compile] [--json FILE]. --device cpu --steps 3 tries the script without a GPU.
"""

import argparse
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.table import Table

from benchmarks.codecs import Ours, Peer, photograph
from benchmarks.common import bundled_shards, command_line, console, paired, per_second, real_variant
from benchmarks.exactness import exactness
from components.codecs.base import Codec
from components.data.loader import training_batches
from components.data.shard_reader import Shards
from components.training.callback import NoOpCallback
from components.training.job import TrainingJob
from components.training.speed import SpeedMeter
from components.training.utilisation import PEAKS, matmul_tflops, step_flop

CODECS = ("haar_hyper", "gmm", "wcae")
PEERS: dict[str, tuple[str, dict[str, int]]] = {
    "haar_hyper": ("mbt2018-mean", {"N": 128, "M": 192}),
    "gmm": ("cheng2020-anchor", {"N": 48}),
    "wcae": ("bmshj2018-factorized", {"N": 128, "M": 192}),
}
"""CompressAI's nearest model and its sizes, by our codec."""

HEIGHT, WIDTH = 512, 768  # of the coded picture


@dataclass(frozen=True)
class Bench:
    """The settings of all measurements."""

    shards: Shards
    work: Path
    device: torch.device
    precision: Any
    steps: int
    rounds: int
    workers: int
    batch_size: int | None

    def job(self, name: str, compiled: bool = False) -> TrainingJob:
        """The training of a variant of the profile, with one step more than are timed."""
        variant = real_variant(name)
        changes = {
            "steps": self.steps + 1,
            "minutes": None,
            "precision": self.precision,
            "compile": compiled,
            "validate_every": self.steps + 1,
            "validation_patches": 1,
            "workers": self.workers,
        }
        if self.batch_size is not None:
            changes["batch_size"] = self.batch_size
        config = variant.train.model_copy(update=changes)
        state = str(self.work / "state")
        return TrainingJob(name, "", variant.codec, variant.hyperparameters, config, self.shards, state)

    def synchronised(self) -> None:
        """Wait until the device has finished its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


class OurLoop:
    """Runs of our loop on a job: the shares of time that they waited, and the last run's codec."""

    def __init__(self, job: TrainingJob):
        self._job = job
        self.waits: list[float] = []

    def __call__(self) -> float:
        """Train; returns images per second."""
        Path(self._job.state).unlink(missing_ok=True)
        torch.compiler.reset()
        meter = SpeedMeter(NoOpCallback())
        job = replace(self._job, save_every_s=math.inf)
        self._best = job.train(meter, wrap_batches=meter.timed).best
        speed = meter.speed()
        self.waits.append(speed.waiting)
        return speed.images_per_s

    def codec(self) -> Codec:
        """The trained codec."""
        codec, _ = self._job.initial_codec()
        codec.load_state_dict(self._best)
        return codec.eval()


def plain(bench: Bench, job: TrainingJob, trainee: Ours | Peer) -> float:
    """Images per second of a plain float32 loop without its first step; CompressAI's with clipping and its aux loss."""
    config, model = job.config, trainee.model.to(bench.device).train()
    auxiliary = [parameter for name, parameter in model.named_parameters() if name.endswith(".quantiles")]
    main = [parameter for name, parameter in model.named_parameters() if not name.endswith(".quantiles")]
    optimizer = torch.optim.Adam(main, 1e-4)
    second = torch.optim.Adam(auxiliary, 1e-3) if auxiliary else None
    batches = training_batches(bench.shards, batch_size=config.batch_size, seed=0, start_step=0, workers=config.workers)

    def run_steps(steps: int) -> None:
        for batch in islice(batches, steps):
            x = (batch.patches.to(bench.device).float() / 255).contiguous()
            optimizer.zero_grad()
            trainee.loss(x).backward()  # type: ignore[no-untyped-call]
            if second is not None:
                torch.nn.utils.clip_grad_norm_(main, 1.0)
            optimizer.step()
            if second is not None:
                second.zero_grad()
                model.aux_loss().backward()  # type: ignore[operator]
                second.step()
        bench.synchronised()

    run_steps(1)
    return per_second(config.batch_size * bench.steps, lambda: run_steps(bench.steps))


def measured(bench: Bench, name: str, compiled: bool, with_peer: bool) -> dict[str, Any]:
    """All figures of one codec."""
    job = bench.job(name)
    ours = OurLoop(job)
    hyperparameters = dict(job.hyperparameters)
    speeds: dict[str, dict[str, float]] = {}

    def compare(what: str, mine: Callable[[], float], other: Callable[[], float]) -> None:
        speeds[what] = dict(zip(("images_per_s", "peer", "ratio"), paired(mine, other, bench.rounds), strict=True))

    compare("ours / plain float32 NCHW", ours, lambda: plain(bench, job, Ours(job.codec, hyperparameters)))
    if with_peer:
        peer, sizes = PEERS[name]
        compare(f"ours / CompressAI {peer}", ours, lambda: plain(bench, job, Peer(peer, sizes)))
    codec = ours.codec().to(bench.device)
    flop = step_flop(codec, torch.rand(1, 3, 256, 256, device=bench.device), job.config.lmbda or 1.0)
    figures = {
        "batch_size": job.config.batch_size,
        "speeds": speeds,
        "waiting_share": median(ours.waits),
        "gflop_per_image": flop / 1e9,
        "tflops": median(speed["images_per_s"] for speed in speeds.values()) * flop / 1e12,
        "exact": exactness(ours.codec(), bench.device, photograph(HEIGHT, WIDTH)),
    }
    if compiled:
        compare("ours, compiled / not", OurLoop(bench.job(name, compiled=True)), ours)
    return figures


def main() -> None:
    """Print the tables, and write the figures to the file of --json."""
    options = _options()
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the loop takes a GPU where it sees one
    elif not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu: no CUDA device here; --device cpu --steps 3 tries the script without one")
    device = torch.device(options.device)
    with_peer = _compressai()
    with tempfile.TemporaryDirectory() as folder:
        shards = Shards(options.shards or str(bundled_shards(Path(folder) / "shards")))
        bench = Bench(
            shards,
            Path(folder),
            device,
            options.precision or ("bf16-mixed" if device.type == "cuda" else "32-true"),
            options.steps,
            options.rounds,
            options.workers,
            options.batch_size,
        )
        name = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
        bf16, tf32 = PEAKS.get(name, (None, None))
        report = {
            "device": name,
            "torch": torch.__version__,
            "precision": bench.precision,
            "steps": bench.steps,
            "rounds": bench.rounds,
            "workers": bench.workers,
            "peak_tflops": bf16 if bench.precision == "bf16-mixed" else tf32,
            "matmul_tflops": matmul_tflops(device, bench.precision),
            "codecs": {codec: measured(bench, codec, options.compile, with_peer) for codec in options.codecs},
        }
    _print(report)
    if not with_peer:
        console.print("no comparison with CompressAI, which is not installed")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if unequal := [name for name, figures in report["codecs"].items() if set(figures["exact"].values()) != {True}]:
        raise SystemExit(f"benchmarks.gpu: not the same latents on both sides: {', '.join(unequal)}")


def _options() -> argparse.Namespace:
    parser = command_line(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=CODECS)
    parser.add_argument("--steps", type=int, default=200, help="timed steps of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each measurement")
    parser.add_argument("--workers", type=int, default=4, help="worker processes of the loader")
    parser.add_argument("--batch-size", type=int, help="by default the profile's")
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), help="by default bf16-mixed on a GPU")
    parser.add_argument("--compile", action="store_true", help="time our loop with torch.compile too")
    parser.add_argument("--shards", help="a folder or address of shards; by default some bundled photographs")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    return parser.parse_args()


def _compressai() -> bool:
    """Whether CompressAI can be imported."""
    try:
        import compressai.zoo  # noqa: F401
    except ImportError:
        return False
    return True


def _print(report: dict[str, Any]) -> None:
    peak, matmul = report["peak_tflops"], report["matmul_tflops"]
    console.print(
        f"{report['device']}, torch {report['torch']}, {report['precision']}, {report['workers']} loader workers,"
        f" {report['steps']} steps; TFLOP/s: peak {peak or 'unknown'}, matrix product {matmul:.3g}"
    )
    table = Table("codec", "batch", "", "images/s", "peer", "ratio")
    facts = Table("codec", "waits", "GFLOP/image", "TFLOP/s", "of peak", "of matrix product", "same latents")
    for name, figures in report["codecs"].items():
        for what, speed in figures["speeds"].items():
            rates = (f"{speed[key]:.3g}" for key in ("images_per_s", "peer", "ratio"))
            table.add_row(name, str(figures["batch_size"]), what, *rates)
        reached = figures["tflops"]
        facts.add_row(
            name,
            f"{figures['waiting_share']:.1%}",
            f"{figures['gflop_per_image']:.1f}",
            f"{reached:.3g}",
            f"{reached / peak:.1%}" if peak else "",
            f"{reached / matmul:.1%}",
            ", ".join(f"{way}: {'yes' if same is True else same or 'NO'}" for way, same in figures["exact"].items()),
        )
    console.print(table)
    console.print(facts)


if __name__ == "__main__":
    main()
