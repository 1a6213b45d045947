"""A training that is stopped or killed resumes bit for bit."""

import math
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from components.errors import RatewrightError
from components.training.config import TrainingConfig
from components.training.interrupt import Interrupted, stop_requests
from components.training.state import TrainingState
from tests.components.training.trainer import SHORT, Run, Trainer, Watch, assert_same, changed, interrupt

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("stops", [(6,), (2, 7)])
def test_stopped_and_resumed_is_the_same_bit_for_bit(stops: tuple[int, ...], trainer: Trainer, straight: Run) -> None:
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


def test_a_finished_run_is_not_trained_again(trainer: Trainer, straight: Run) -> None:
    trainer()
    watch = Watch()
    assert_same(trainer(watch=watch), straight)
    assert watch.steps == []


def test_the_state_of_another_run_is_not_resumed(trainer: Trainer, straight: Run) -> None:
    with pytest.raises(Interrupted):
        trainer(watch=Watch(5, interrupt), fingerprint="another run")
    watch = Watch()
    assert_same(trainer(watch=watch), straight)
    assert watch.steps[0] == 1


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff" * 1000])
def test_a_damaged_state_is_not_resumed(data: bytes, trainer: Trainer, caplog: pytest.LogCaptureFixture) -> None:
    trainer.state.write_bytes(data)
    watch = Watch()
    trainer(changed(SHORT, steps=2, validation_patches=1), watch)
    assert watch.steps == [1, 2]
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert record.getMessage().startswith(f"{trainer.state}: damaged, so training starts anew (")


def test_a_truncated_state_is_not_resumed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state"
    TrainingState("this run", 7, best={"w": torch.zeros(100)}).save(path)
    assert TrainingState.load(path, "this run").step == 7
    assert caplog.records == []
    path.write_bytes(path.read_bytes()[:-8])
    assert TrainingState.load(path, "this run").step == 0
    assert "damaged, so training starts anew" in caplog.text


def loop_of_links(state: Path) -> None:
    state.unlink()
    state.symlink_to(state)


def folder_in_its_place(state: Path) -> None:
    state.unlink()
    state.mkdir()


def no_permission(state: Path) -> None:
    state.chmod(0)
    if os.access(state, os.R_OK):
        pytest.skip("this user may read every file")


@pytest.mark.parametrize("prevent", [loop_of_links, folder_in_its_place, no_permission])
def test_a_state_that_cannot_be_read_now_is_an_error(prevent: Callable[[Path], None], trainer: Trainer) -> None:
    with pytest.raises(Interrupted):
        trainer(watch=Watch(2, interrupt))
    prevent(trainer.state)
    watch = Watch()
    with pytest.raises(RatewrightError, match=f"^{trainer.state}: the training state cannot be read: ") as caught:
        trainer(watch=watch)
    assert "\n" not in str(caught.value)
    assert watch.steps == []


KILLED = """
import json
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from components.codecs.table import codec_class
from components.data.shard_reader import Shards
from components.training.config import TrainingConfig
from components.training.loop import train
from components.rate.lambda_controller import LambdaController
shards, state = Path(sys.argv[1]), Path(sys.argv[2])

class Tell:
    def on_step(self, spent, step, loss):
        print(step, flush=True)
    def on_validation(self, row):
        pass

config = TrainingConfig(**json.loads(sys.argv[3]))
torch.manual_seed(1)
codec = codec_class("nowcae")()
def a_rate(codec):
    return 0.4 + float(next(codec.parameters()).detach().abs().mean())
train(codec, Shards(str(shards)), config, seed=9, state_path=state, fingerprint="this run", callback=Tell(),
      controller=LambdaController(0.5, config.lmbda, raises_rate=False), rate_of=a_rate,
      save_every_s=float(sys.argv[4]))
"""


def killed(
    trainer: Trainer, config: TrainingConfig, save_every_s: float, end: Callable[[int], None]
) -> tuple[int, str]:
    """Train in a new process group, call `end` with its pid after five steps, and return exit code and errors."""
    arguments = [str(trainer.shards), str(trainer.state), config.model_dump_json(), str(save_every_s)]
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
        return process.wait(40), process.stderr.read()  # less than the loader's processes outlive a signal


def test_a_killed_run_resumes_bit_for_bit(trainer: Trainer, straight: Run) -> None:
    code, _ = killed(trainer, SHORT, -1.0, lambda pid: os.kill(pid, signal.SIGKILL))
    assert code == -signal.SIGKILL
    watch = Watch()
    run = trainer(watch=watch)
    assert 5 <= watch.steps[0] <= 12, "it lost one step at the most, and had not finished"
    assert_same(run, straight)
    assert [path.name for path in trainer.state.parent.iterdir() if not path.name.startswith(".")] == [
        trainer.state.name
    ]


def test_a_stop_of_the_process_group_keeps_the_state(trainer: Trainer, straight: Run) -> None:
    """A terminal or a scheduler signals the whole process group, with the loader's processes."""
    _, errors = killed(trainer, changed(SHORT, workers=2), math.inf, lambda pid: os.killpg(pid, signal.SIGTERM))
    stopped = re.search(r"Interrupted: stopped at step (\d+); run the same command", errors)
    assert stopped, errors
    watch = Watch()
    assert_same(trainer(watch=watch), straight)
    assert watch.steps[0] == int(stopped[1]) + 1


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
