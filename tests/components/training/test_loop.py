import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from components.codecs.base import Codec
from components.codecs.table import CODECS
from components.errors import RatewrightError, SourceError
from components.images.loader import validation_batches
from components.images.shard_reader import Shards
from components.training import loop
from components.training.config import Row, TrainingConfig
from components.training.interrupt import stop_requests
from components.training.loop import Interrupted, train
from components.training.rate_control import RateControl
from components.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., Codec]
Weights = dict[str, torch.Tensor]

SHORT = TrainingConfig(
    batch_size=4,
    learning_rate=1e-3,
    lmbda=0.01,
    steps=12,
    precision="32-true",
    validate_every=3,
    validation_patches=5,
    seed=9,
    workers=0,
)


class Watch:
    """Notes what it is told, and at step `at` does `act`."""

    def __init__(self, at: int = 0, act: Callable[[], None] = lambda: None):
        self.at, self.act = at, act
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.spent: list[float] = []
        self.rows: list[Row] = []

    def on_step(self, spent: float, step: int, loss: float) -> None:
        self.steps.append(step)
        self.losses.append(loss)
        self.spent.append(spent)
        if step == self.at:
            self.act()

    def on_validation(self, row: Row) -> None:
        self.rows.append(row)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


class Trainer:
    """Runs the loop on the tiny shards with a fresh codec each time, as the stage does."""

    def __init__(self, make_codec: Make, shards: Path, state: Path, name: str = "wcae"):
        self.make_codec, self.shards, self.state, self.name = make_codec, shards, state, name

    def __call__(
        self, config: TrainingConfig = SHORT, watch: Watch | None = None, *, fingerprint: str = "this run"
    ) -> tuple[Weights, TrainingState]:
        codec = self.make_codec(self.name, seed=1)
        state = train(
            codec,
            Shards(str(self.shards)),
            config,
            state_path=self.state,
            fingerprint=fingerprint,
            observer=watch or Watch(),
            control=RateControl(0.5, config.lmbda, raises_rate=False),
            rate_of=a_rate,
        )
        assert not codec.training
        return dict(codec.state_dict()), state


def a_rate(codec: Codec) -> float:
    """Stands in for real files: a rate that depends on the weights, so that lambda is steered by them."""
    return 0.4 + float(next(codec.parameters()).detach().abs().mean())


@pytest.fixture
def trainer(make_codec: Make, tiny_shards: Path, tmp_path: Path) -> Trainer:
    return Trainer(make_codec, tiny_shards, tmp_path / "state.safetensors")


@pytest.fixture(scope="module")
def straight(
    make_codec: Make, tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Weights, TrainingState]:
    """Twelve steps without a stop."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = Trainer(make_codec, tiny_shards, tmp_path_factory.mktemp("straight") / "s.safetensors")()
    torch.set_num_threads(threads)
    return run


def assert_same(run: tuple[Weights, TrainingState], expected: tuple[Weights, TrainingState]) -> None:
    """Bit for bit: the weights that training leaves, and the history."""
    (weights, state), (others, other) = run, expected
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        assert torch.equal(value, others[key]), key
    assert state.history == other.history
    assert (state.step, state.lmbda) == (other.step, other.lmbda)
    assert tuple(state.best_parts or ()) == tuple(other.best_parts or ())


def test_the_straight_run(straight: tuple[Weights, TrainingState]) -> None:
    weights, state = straight
    assert state.step == 12
    assert [row["step"] for row in state.history] == [3, 6, 9, 12]
    for row in state.history:
        assert set(row) == {
            *("step", "lmbda", "lr", "train_loss", "val_loss", "val_psnr_db"),
            *("val_bpp_estimated", "skipped", "diverged", "calibration_bpp"),
        }
        assert all(isinstance(value, int | float) and math.isfinite(value) for value in row.values())
    assert len({row["lmbda"] for row in state.history}) > 1, "lambda is steered"
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_a_repeated_run_is_the_same(trainer: Trainer, straight: tuple[Weights, TrainingState]) -> None:
    assert_same(trainer(), straight)


def test_another_seed_is_another_run(trainer: Trainer, straight: tuple[Weights, TrainingState]) -> None:
    assert trainer(replace(SHORT, seed=10))[1].history != straight[1].history


@pytest.mark.parametrize("stops", [(6,), (2, 7)])
def test_stopped_and_resumed_is_the_same_bit_for_bit(
    stops: tuple[int, ...], trainer: Trainer, straight: tuple[Weights, TrainingState]
) -> None:
    for at in stops:
        watch = Watch(at, interrupt)
        with pytest.raises(Interrupted, match=f"stopped at step {at}; run the same command"):
            trainer(watch=watch)
        assert watch.steps[-1] == at
        assert trainer.state.exists()
    last = Watch()
    run = trainer(watch=last)
    assert last.steps[0] == stops[-1] + 1, "it went on, and did not start anew"
    assert_same(run, straight)


def test_a_finished_run_is_not_trained_again(trainer: Trainer, straight: tuple[Weights, TrainingState]) -> None:
    trainer()
    watch = Watch()
    assert_same(trainer(watch=watch), straight)
    assert watch.steps == []


def test_the_state_of_another_run_is_not_resumed(trainer: Trainer, straight: tuple[Weights, TrainingState]) -> None:
    with pytest.raises(Interrupted):
        trainer(watch=Watch(5, interrupt), fingerprint="another run")
    watch = Watch()
    assert_same(trainer(watch=watch), straight)
    assert watch.steps[0] == 1


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff" * 1000])
def test_a_damaged_state_is_not_resumed(data: bytes, trainer: Trainer) -> None:
    trainer.state.write_bytes(data)
    watch = Watch()
    trainer(replace(SHORT, steps=2, validation_patches=1), watch)
    assert watch.steps == [1, 2]


KILLED = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from components.codecs.table import codec_class
from components.images.shard_reader import Shards
from components.training import loop
from components.training.rate_control import RateControl
shards, state = Path(sys.argv[1]), Path(sys.argv[2])

class Tell:
    def on_step(self, spent, step, loss):
        print(step, flush=True)
    def on_validation(self, row):
        pass

config = loop.TrainingConfig(**eval(sys.argv[3]))
torch.manual_seed(1)
codec = codec_class("wcae")()
def a_rate(codec):
    return 0.4 + float(next(codec.parameters()).detach().abs().mean())
loop.train(codec, Shards(str(shards)), config, state_path=state, fingerprint="this run", observer=Tell(),
           control=RateControl(0.5, config.lmbda, raises_rate=False), rate_of=a_rate, save_every_s=float(sys.argv[4]))
"""


def killed(
    trainer: Trainer, config: TrainingConfig, save_every_s: float, end: Callable[[int], None]
) -> tuple[int, str]:
    """A run in a process group of its own, which `end` ends by its pid after five steps: its exit code and errors."""
    arguments = [str(trainer.shards), str(trainer.state), repr(vars(config)), str(save_every_s)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if int(line) == 5:
                end(process.pid)
                break
        return process.wait(), process.stderr.read()


def test_a_run_killed_in_the_middle_goes_on_bit_for_bit(
    trainer: Trainer, straight: tuple[Weights, TrainingState]
) -> None:
    code, _ = killed(trainer, SHORT, -1.0, lambda pid: os.kill(pid, signal.SIGKILL))
    assert code == -signal.SIGKILL
    watch = Watch()
    run = trainer(watch=watch)
    assert 5 <= watch.steps[0] <= 12, "it lost one step at the most, and had not finished"
    assert_same(run, straight)
    assert [path.name for path in trainer.state.parent.iterdir() if not path.name.startswith(".")] == [
        trainer.state.name
    ]


def test_a_stop_that_the_loader_gets_too_keeps_the_state(
    trainer: Trainer, straight: tuple[Weights, TrainingState]
) -> None:
    """As a terminal or a scheduler stops: the signal goes to the whole group, the loader's workers among it."""
    _, errors = killed(trainer, replace(SHORT, workers=2), math.inf, lambda pid: os.killpg(pid, signal.SIGTERM))
    stopped = re.search(r"Interrupted: stopped at step (\d+); run the same command", errors)
    assert stopped, errors
    watch = Watch()
    assert_same(trainer(watch=watch), straight)
    assert watch.steps[0] == int(stopped[1]) + 1


def test_loss_goes_down_on_a_tiny_set(trainer: Trainer) -> None:
    watch = Watch()
    trainer(replace(SHORT, steps=40, validate_every=20, learning_rate=2e-3, validation_patches=1), watch)
    first, last = (sum(part) / 8 for part in (watch.losses[:8], watch.losses[-8:]))
    assert last < 0.8 * first


def test_the_best_validation_is_kept(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of validations is made up: the second is the best, and its weights are what training leaves."""
    kept: list[Weights] = []
    losses = iter([0.5, 0.3, 0.7, 0.6])

    def loss(run: "loop._Run", distortion: float, rate: float) -> float:  # noqa: ARG001
        return distortion

    real = loop._Run.validate

    def validate(run: "loop._Run", train_loss: float, rate_of: Callable[[Codec], float] | None) -> Row:
        made_up = next(losses)
        monkeypatch.setattr(run.codec, "costs", lambda *_: (torch.tensor(made_up), torch.zeros(())))
        row = real(run, train_loss, rate_of)
        monkeypatch.undo()
        patch()
        kept.append({key: value.clone() for key, value in run.codec.state_dict().items()})
        return row

    def patch() -> None:
        monkeypatch.setattr(loop._Run, "validate", validate)
        monkeypatch.setattr(loop._Run, "_loss", loss)

    patch()
    weights, state = trainer()
    assert [row["val_loss"] for row in state.history] == pytest.approx([0.5, 0.3, 0.7, 0.6])
    for key, value in weights.items():
        assert torch.equal(value, kept[1][key]), key
    assert any(not torch.equal(value, kept[3][key]) for key, value in weights.items())


def test_damaged_patches_are_counted_and_past_a_share_the_end(
    make_codec: Make, tiny_shards: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(tiny_shards, tmp_path / "shards")
    index = Shards(str(own)).index()["splits"]["train"]
    first = index["shards"][0]
    with (own / first["file"]).open("r+b") as tar:
        for offset, _ in first["samples"][:2]:
            tar.seek(offset)
            tar.write(bytes(100))
    trainer = Trainer(make_codec, own, tmp_path / "state")
    epoch = replace(SHORT, batch_size=index["samples"], steps=2, validate_every=1, validation_patches=1)
    _, state = trainer(replace(epoch, max_skipped=2 / index["samples"]))
    assert [row["skipped"] for row in state.history] == [2, 4]
    assert TrainingState.load(trainer.state, "this run").skipped == 4
    said = rf"^{own}: 2 of {index['samples']} patches drawn are damaged, more than max_skipped \(0\.05\) allows$"
    with pytest.raises(SourceError, match=said):
        trainer(replace(epoch, max_skipped=0.05), fingerprint="another run")


@pytest.mark.parametrize("name", CODECS)
def test_patches_that_are_smaller_than_the_stride(
    name: str, make_codec: Make, shards_of_32: Path, tmp_path: Path
) -> None:
    codec, watch = make_codec(name), Watch()
    config = replace(SHORT, batch_size=2, steps=1, validate_every=1, validation_patches=2, learning_rate=1e-9)
    state = train(
        codec, Shards(str(shards_of_32)), config, state_path=tmp_path / "state", fingerprint="f", observer=watch
    )
    assert math.isfinite(watch.losses[0])
    (row,) = state.history
    x = loop.prepared(validation_batches(Shards(str(shards_of_32)), batch_size=2, limit=2)[0], torch.device("cpu"))
    with torch.inference_mode():
        made = codec(codec.pad(x))
    assert row["val_bpp_estimated"] == pytest.approx(made.bits.mean().item() / 32**2, rel=0.05)
    pairs = zip(x, made.x_hat, strict=True)
    errors = [max(1e-10, (a - b[:, :32, :32].clamp(0, 1)).square().mean().item()) for a, b in pairs]
    psnr = [-10 * math.log10(error) for error in errors]
    assert row["val_psnr_db"] == pytest.approx(sum(psnr) / 2, abs=0.1)


def test_schedules(trainer: Trainer) -> None:
    rates = {}
    for schedule in ("constant", "cosine"):
        config = replace(SHORT, schedule=schedule, validate_every=2, validation_patches=1, steps=6)
        rates[schedule] = [row["lr"] for row in trainer(config, fingerprint=schedule)[1].history]
    assert rates["constant"] == [1e-3] * 3
    expected = [1e-3 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 6)) / 2) for step in (1, 3, 5)]
    assert rates["cosine"] == pytest.approx(expected)


def plateau(monkeypatch: pytest.MonkeyPatch) -> TrainingConfig:
    """Validations that never gain: after two of them in vain the learning rate is a tenth."""
    monkeypatch.setattr(loop._Run, "_loss", lambda run, distortion, rate: 1.0)  # noqa: ARG005
    return replace(SHORT, schedule="plateau", patience=1, validate_every=1, validation_patches=1, steps=7)


def test_the_plateau_schedule(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    _, state = trainer(plateau(monkeypatch))
    rates = [row["lr"] for row in state.history]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5, 1e-6])


def test_the_plateau_schedule_survives_a_stop(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plateau(monkeypatch)
    straight = trainer(config)
    trainer.state.unlink()
    with pytest.raises(Interrupted):
        trainer(config, Watch(4, interrupt))
    assert_same(trainer(config), straight)


class Clock:
    """time.monotonic that moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds


def test_a_budget_of_minutes_ends(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    real = loop._Run.step

    def step(run: "loop._Run", batch: torch.Tensor) -> float:
        clock.move(7.0)
        return real(run, batch)

    monkeypatch.setattr(loop._Run, "step", step)
    watch = Watch()
    config = replace(SHORT, steps=None, minutes=0.5, validate_every=100, validation_patches=1)
    _, state = trainer(config, watch)
    assert watch.steps == [1, 2, 3, 4, 5], "five steps of 7 s pass half a minute"
    assert watch.spent == pytest.approx([7 / 30, 14 / 30, 21 / 30, 28 / 30, 1])
    assert [row["step"] for row in state.history] == [5], "a last validation closes the run"
    assert trainer.state.exists()


def test_minutes_that_end_within_a_validation(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage `train` deletes the state in the end: there must be one."""
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    real = loop._Run.validate

    def validate(run: "loop._Run", train_loss: float, rate_of: Callable[[Codec], float] | None) -> Row:
        clock.move(31.0)
        return real(run, train_loss, rate_of)

    monkeypatch.setattr(loop._Run, "validate", validate)
    config = replace(SHORT, steps=None, minutes=0.5, validate_every=2, validation_patches=1)
    _, state = trainer(config)
    assert [row["step"] for row in state.history] == [2]
    assert trainer.state.exists()


def test_real_minutes_end(trainer: Trainer) -> None:
    started = time.monotonic()
    config = replace(SHORT, steps=None, minutes=1 / 60, validate_every=1000, validation_patches=1)
    _, state = trainer(config)
    assert 0.9 < time.monotonic() - started < 20
    assert state.elapsed_s >= 1
    assert len(state.history) == 1


def test_a_loss_that_is_not_finite_is_said_in_one_line(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RatewrightError, match=r"diverged: the loss is nan at step \d+; lower learning_rate"):
        trainer(replace(SHORT, lmbda=math.nan))
    assert not trainer.state.exists()
    monkeypatch.undo()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_requests(number: signal.Signals) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with stop_requests() as stopping:
        assert not stopping()
        signal.raise_signal(number)
        assert stopping()
        signal.raise_signal(signal.SIGTERM)  # one comes for each thread of a parent that died
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_stop_requests_outside_the_main_thread() -> None:
    answers: list[bool] = []

    def ask() -> None:
        with stop_requests() as stopping:
            answers.append(stopping())

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert answers == [False]


class Astray:
    """A watch for a trainer whose codec is led astray after step 8, and interrupted after step `at`."""

    def __init__(self, trainer: Trainer, at: int = 0):
        self.watch, self.at = Watch(8, self.act), at
        make = trainer.make_codec

        def made(*args: Any, **kwargs: Any) -> Codec:
            self.codec = make(*args, **kwargs)
            return self.codec

        trainer.make_codec = made

    def act(self) -> None:
        with torch.no_grad():
            for parameter in self.codec.parameters():
                parameter.mul_(1.5)
        if self.at:
            self.watch.at, self.watch.act = self.at, interrupt


@pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
def test_a_training_that_diverges_goes_on_from_its_best_weights_at_half_the_rate(
    trainer: Trainer, tmp_path: Path, schedule: Literal["constant", "cosine", "plateau"]
) -> None:
    config = replace(SHORT, schedule=schedule)
    undisturbed = Watch()
    trainer(config, undisturbed)
    trainer.state = tmp_path / "astray.safetensors"
    astray = Astray(trainer)
    weights, _ = trainer(config, astray.watch)
    rows = astray.watch.rows
    assert [row["diverged"] for row in rows] == [False, False, True, False]
    assert rows[2]["val_loss"] > 4 * rows[1]["val_loss"]
    assert rows[3]["val_loss"] < 1.5 * rows[1]["val_loss"]
    assert rows[2]["calibration_bpp"] is None
    assert rows[3]["lmbda"] == rows[2]["lmbda"], "what was led astray does not steer"
    assert rows[3]["lr"] == pytest.approx(undisturbed.rows[3]["lr"] / 2)

    trainer.state = tmp_path / "interrupted.safetensors"
    with pytest.raises(Interrupted):
        trainer(config, Astray(trainer, at=10).watch)
    again, _ = trainer(config)
    assert all(torch.equal(weights[key], again[key]) for key in weights)
