"""Trainings in several processes of this machine, started by the tests and by LocalLauncher."""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
import torch
from safetensors import safe_open

from components.codecs.table import CODECS
from components.errors import RatewrightError
from components.training.config import TrainingConfig
from components.training.launchers.local import LocalLauncher, free_port
from components.training.state import TrainingState
from tests.components.training.ranks import job_of
from tests.components.training.trainer import changed

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[3]
Line = dict[str, Any]

SHORT = TrainingConfig(
    batch_size=4,
    learning_rate=1e-3,
    lmbda=0.01,
    steps=2,
    schedule="constant",
    precision="32-true",
    validate_every=2,
    validation_patches=2,
    workers=0,
)
QUIET = "mlp_lossless"  # which draws no noise where the window it looks at is the whole patch


class Watch:
    """Records the losses, and calls `act` after step `at`."""

    def __init__(self, at: int = 0, act: Callable[[], None] = lambda: None):
        self.at, self.act = at, act
        self.losses: dict[int, float] = {}

    def on_step(self, spent: float, step: int, loss: float) -> None:  # noqa: ARG002
        self.losses[step] = loss
        if step == self.at:
            self.act()

    def on_validation(self, row: Any) -> None:
        pass


@dataclass
class Ranks:
    """Running ranks; the first one prints its steps."""

    processes: list["subprocess.Popen[str]"]
    states: Path

    @property
    def first(self) -> IO[str]:
        assert self.processes[0].stdout is not None
        return self.processes[0].stdout

    def line(self) -> Line:
        """The next line of rank 0."""
        said: Line = json.loads(self.first.readline())
        return said

    def said(self) -> list[Line]:
        """The remaining lines of rank 0, once all ranks have ended without an error."""
        said = [json.loads(line) for line in self.first]
        assert [process.wait(60) for process in self.processes] == [0] * len(self.processes)
        return said


@pytest.fixture(scope="module")
def two_ranks(shards_of_32: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """Two ranks that train every codec for two steps, with states in "0", and then QUIET without end, in "1"."""
    states = tmp_path_factory.mktemp("two_ranks")
    endless = changed(SHORT, steps=10_000, validate_every=10_000)
    tasks = [(SHORT.model_dump(), list(CODECS)), (endless.model_dump(), [QUIET])]
    rendezvous = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.components.training.ranks", str(shards_of_32), str(states)]
    environments = [{**os.environ, **rendezvous, "RANK": str(rank), "OMP_NUM_THREADS": "1"} for rank in range(2)]
    processes = [
        subprocess.Popen([*command, json.dumps(tasks)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for environment in environments
    ]
    yield Ranks(processes, states)
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def every_codec(two_ranks: Ranks) -> tuple[Path, list[Line]]:
    """The saved state of every codec after two steps on two ranks, and the lines of rank 0."""
    return two_ranks.states / "0", [two_ranks.line() for _ in range(2 * len(CODECS))]


def described(path: Path) -> tuple[set[str], dict[str, tuple[str, list[int]]]]:
    """The keys of the metadata in a state file, and the type and shape of each tensor."""
    with safe_open(path, "pt") as file:
        metadata = set(json.loads(file.metadata()["state"]))
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return metadata, {name: (part.get_dtype(), part.get_shape()) for name, part in slices.items()}


def test_every_codec_trains_on_two_ranks(
    every_codec: tuple[Path, list[Line]], shards_of_32: Path, tmp_path: Path
) -> None:
    together, said = every_codec
    assert [(line["codec"], line["step"]) for line in said] == [(name, step) for name in CODECS for step in (1, 2)]
    assert all(math.isfinite(line["loss"]) for line in said)
    for name in ("gan_ae_w", QUIET):  # one has a discriminator
        job_of(name, shards_of_32, tmp_path, SHORT).train(Watch())
        path = f"{name}.safetensors"
        assert described(together / path) == described(tmp_path / path), name
        left, other = (TrainingState.load(folder / path, "f") for folder in (together, tmp_path))
        assert (left.step, [row.step for row in left.history]) == (2, [2])
        assert left.history[0].model_fields_set == other.history[0].model_fields_set


def test_without_noise_two_ranks_train_as_one_and_one_resumes(
    two_ranks: Ranks,
    every_codec: tuple[Path, list[Line]],  # noqa: ARG001 - comes before
    shards_of_32: Path,
    tmp_path: Path,
) -> None:
    """A signal to the second rank alone stops both ranks, at the same step."""
    losses: dict[int, float] = {}
    while len(losses) < 3:
        line = two_ranks.line()
        losses[line["step"]] = line["loss"]
    two_ranks.processes[1].send_signal(signal.SIGINT)
    *steps, end = two_ranks.said()
    losses |= {line["step"]: line["loss"] for line in steps}
    last = max(losses)
    stopped = f"stopped at step {last}; run the same command to go on from there"
    assert end == {"codec": QUIET, "interrupted": stopped}
    assert two_ranks.processes[1].communicate()[0] == json.dumps({"codec": QUIET, "interrupted": stopped}) + "\n"
    assert TrainingState.load(two_ranks.states / "1" / f"{QUIET}.safetensors", "f").step == last

    config = changed(SHORT, steps=last + 4, validate_every=last + 4)
    straight, resumed = Watch(), Watch()
    job_of(QUIET, shards_of_32, tmp_path, config).train(straight)
    job_of(QUIET, shards_of_32, two_ranks.states / "1", config).train(resumed)
    assert sorted(losses | resumed.losses) == sorted(straight.losses) == list(range(1, last + 5))
    assert not losses.keys() & resumed.losses.keys()
    assert losses | resumed.losses == pytest.approx(straight.losses, rel=1e-4)


def children() -> list[int]:
    return [process.pid for process in multiprocessing.active_children() if process.pid is not None]


def test_a_launcher_has_workers_train_as_the_ranks_do(
    every_codec: tuple[Path, list[Line]], shards_of_32: Path, tmp_path: Path
) -> None:
    states, said = every_codec
    watch, pids = Watch(2, lambda: pids.extend(children())), list[int]()
    launcher, job = LocalLauncher(workers=2), job_of("wcae", shards_of_32, tmp_path, SHORT)
    state = launcher.train(job, watch)
    assert len(pids) == 1
    assert watch.losses == {line["step"]: line["loss"] for line in said if line["codec"] == "wcae"}, "bit for bit"
    kept = TrainingState.load(states / "wcae.safetensors", "f")
    assert all(torch.equal(value, kept.best[key]) for key, value in state.best.items())
    assert children() == []
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"} & os.environ.keys()
    launcher.remove_state(job)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_worker_is_named_and_the_training_resumes(shards_of_32: Path, tmp_path: Path) -> None:
    config = changed(SHORT, steps=30)
    job = job_of("wcae", shards_of_32, tmp_path, config, save_every_s=0.0)
    with pytest.raises(RatewrightError) as caught:
        LocalLauncher(workers=2).train(job, Watch(5, lambda: os.kill(children()[0], signal.SIGKILL)))
    assert str(caught.value) == (
        "wcae: worker 1 was killed by signal 9 (no memory left?);"
        " run the same command to go on from the last saved state"
    )
    assert children() == []
    watch = Watch()
    state = LocalLauncher(workers=1).train(job, watch)
    assert state.step == 30
    assert 5 <= min(watch.losses) <= 7, "it lost a step or two, and did not start anew"


def test_workers_that_cannot_share_a_batch(shards_of_32: Path, tmp_path: Path) -> None:
    with pytest.raises(RatewrightError) as caught:
        LocalLauncher(workers=3).train(job_of("wcae", shards_of_32, tmp_path, SHORT), Watch())
    assert str(caught.value) == "wcae: batches of 4 cannot be divided evenly among 3 workers"
    assert children() == []
