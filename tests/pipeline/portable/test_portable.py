"""A training packed into one file, run as another machine would, killed, resumed, and taken back into the checkout."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from zipfile import ZipFile

import pytest
from ruamel.yaml import YAML
from safetensors import safe_open
from safetensors.torch import load_file

from components.arrays import Rgb
from components.codecs.checkpoint import read_facts
from components.data.shard_index import ShardIndex
from components.errors import RatewrightError, SourceError
from components.training.callback import Validation
from pipeline.documents import Calibration, read, read_lines
from pipeline.paths import Layout
from pipeline.portable import pack, take, unpack
from pipeline.portable.contents import TRAINED_ON
from pipeline.stages import calibrate
from tests.conftest import Clone, environment_of, make_clone
from tests.data_sets import write_data_set
from tests.small_profile import small_params

TARGET_BPP = 0.3
STEPS = 14
BUDGET = ["-S", "minutes=null", "-S", f"steps={STEPS}", "-S", "validate_every=2", "-S", "workers=0"]


@pytest.fixture(scope="module")
def checkout(tiny_shards: Path, photographs: list[Rgb], tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A repository with what the training of wcae reads."""
    root, environment = make_clone(tmp_path_factory.mktemp("checkout"))
    shutil.copytree(tiny_shards, root / "data" / "shards" / "bundled-train")
    write_data_set(root / "data" / "raw" / "bundled-calibration", photographs[6:8])
    yaml = YAML()
    document = yaml.load(root / "params.yaml")
    document["target_bpp"] = TARGET_BPP
    yaml.dump(document, root / "params.yaml")
    return root, environment


def options(file: Path, *more: str) -> Namespace:
    return pack.options(["wcae", "--out", str(file), *more])


@pytest.fixture(scope="module")
def packed(checkout: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("packed") / "wcae.pyz"
    pack.pack(checkout[0], options(file))
    return file


def start(file: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Run the file in its folder, in an environment that knows no checkout."""
    environment = {**environment_of(Path()), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    del environment["PYTHONPATH"]
    command = [sys.executable, file.name, "--device", "cpu", *arguments]
    return subprocess.Popen(command, cwd=file.parent, env=environment, stdout=subprocess.PIPE, text=True)


def steps_in(text: str) -> list[int]:
    """The steps that lines on the speed tell of."""
    return [int(step) for step in re.findall(r"%, step (\d+), .* images/s", text)]


def ended(process: "subprocess.Popen[str]", how: signal.Signals, after: int) -> str:
    """Send a signal once the process has told of `after` steps; returns all that it said."""
    said = ""
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if steps_in(line) and len(steps_in(said)) == after:
                process.send_signal(how)
    return said


@pytest.fixture(scope="module")
def trained(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that an uninterrupted training leaves."""
    file = tmp_path_factory.mktemp("far") / "wcae.pyz"
    shutil.copy(packed, file)
    process = start(file, *BUDGET)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return file.parent / "wcae-trained"


def index_of(file: Path) -> ShardIndex:
    with ZipFile(file) as archive:
        return ShardIndex.model_validate_json(archive.read("shards/index.json"))


def test_the_file_keeps_its_limit(checkout: Clone, packed: Path, tmp_path: Path) -> None:
    with ZipFile(packed) as archive:
        shards = sum(one.compress_size for one in archive.infolist() if one.filename.startswith("shards/"))
    limit = packed.stat().st_size - shards + pack.MARGIN + 70_000
    small = tmp_path / "small.pyz"
    pack.pack(checkout[0], options(small, "--megabytes", str(limit / 1e6)))
    assert small.stat().st_size <= limit
    assert 0 < index_of(small).splits["train"].samples < index_of(packed).splits["train"].samples
    none = tmp_path / "none.pyz"
    with pytest.raises(SourceError, match="too few"):
        pack.pack(checkout[0], options(none, "--megabytes", "0.1"))
    assert not none.exists()


def test_what_cannot_be_packed(checkout: Clone, tmp_path: Path) -> None:
    with pytest.raises(RatewrightError, match="run `ratewright use real` and `dvc repro shard` first"):
        pack.pack(checkout[0], options(tmp_path / "a", "--profile", "real"))
    with pytest.raises(RatewrightError, match="no variant 'gone'"):
        pack.pack(checkout[0], pack.options(["gone"]))
    assert pack.FLAGSHIP in small_params()["variants"]


def test_another_machine_trains(trained: Path) -> None:
    facts = read_facts(trained / "trained.safetensors")
    assert (facts["variant"], facts["step"], facts["precision"]) == ("wcae", STEPS, "32-true")
    on = facts[TRAINED_ON]
    assert on["device"].startswith("cpu, 1 thread")
    assert on["minutes"] > 0
    assert on["config"]["steps"] == STEPS
    assert (on["patches"], on["quality"]) == (index_of(trained.parent / "wcae.pyz").splits["train"].samples, 90)
    history = read_lines(Validation, trained / "history.jsonl")
    assert [row.step for row in history] == [*range(2, STEPS + 1, 2)]
    assert all(row.calibration_bpp is not None for row in history)


def test_after_sigterm_and_a_kill_the_same_command_goes_on(packed: Path, trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "wcae.pyz"
    shutil.copy(packed, file)
    often = [*BUDGET, "--every", "0"]
    state, weights = tmp_path / "wcae" / "state.safetensors", tmp_path / "wcae-trained" / "trained.safetensors"

    def saved_step() -> int:
        with safe_open(state, "pt") as file:
            step: int = json.loads(file.metadata()["state"])["step"]
            return step

    process = start(file, *often)
    said = ended(process, signal.SIGTERM, after=2)
    assert process.returncode == 2
    assert "error: stopped at step" in said
    stopped = saved_step()
    assert stopped < STEPS
    assert read_facts(weights)["step"] == stopped
    process = start(file, *often)
    said = ended(process, signal.SIGKILL, after=3)
    assert process.returncode == -signal.SIGKILL
    assert steps_in(said)[0] == stopped + 2  # the first step of a process is not measured
    killed = saved_step()
    assert stopped < killed < STEPS
    process = start(file, *often)
    said, _ = process.communicate()
    assert process.returncode == 0
    assert steps_in(said) == [*range(killed + 2, STEPS + 1)]
    found, expected = load_file(weights), load_file(trained / "trained.safetensors")
    assert all(found[key].equal(expected[key]) for key in expected)
    assert weights.with_name("history.jsonl").read_text() == (trained / "history.jsonl").read_text()


def test_without_a_gpu(packed: Path, tmp_path: Path) -> None:
    file = tmp_path / "wcae.pyz"
    shutil.copy(packed, file)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, file.name], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == "error: no CUDA device here; --device cpu trains on the processor\n"


def test_packages_come_from_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with ZipFile(wheels / "lacking_here-1.5-py3-none-any.whl", "w") as wheel:
        wheel.writestr("lacking_here.py", "VALUE = 3\n")
        info = "lacking_here-1.5.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: lacking-here\nVersion: 1.5\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (tmp_path / "requirements.txt").write_text("numpy==0.0\nlacking-here==1.5\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(unpack, "PACKAGES", {"numpy": "numpy", "lacking_here": "lacking-here"})
    unpack.provide_packages(tmp_path, tmp_path / "site")
    import lacking_here  # type: ignore[import-not-found]

    assert lacking_here.VALUE == 3
    monkeypatch.delitem(sys.modules, "lacking_here")
    (wheels / "lacking_here-1.5-py3-none-any.whl").write_bytes(b"")
    shutil.rmtree(tmp_path / "site")
    with pytest.raises(SystemExit, match=r"^error: pip cannot install lacking-here==1.5: .+"):
        unpack.provide_packages(tmp_path, tmp_path / "site")


@pytest.mark.filterwarnings("ignore")  # of MLflow and its dependencies
@pytest.mark.usefixtures("own_mlflow", "one_thread")
def test_weights_brought_back_calibrate(checkout: Clone, trained: Path) -> None:
    root, environment = checkout
    take.take(root, str(trained))
    command = [sys.executable, "-m", "dvc", "status", "train@wcae"]
    status = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert "changed deps" not in status.stdout
    assert "changed outs" not in status.stdout
    calibrate.run(root, "wcae")
    layout = Layout(root)
    assert read_facts(layout.calibrated("wcae"))[TRAINED_ON] == read_facts(trained / "trained.safetensors")[TRAINED_ON]
    assert 0.95 * TARGET_BPP <= read(Calibration, layout.calibration("wcae")).bpp <= TARGET_BPP


def test_what_is_not_taken(checkout: Clone, trained: Path, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    shutil.copytree(checkout[0], root, symlinks=True)
    shutil.rmtree(root / "models", ignore_errors=True)
    yaml = YAML()
    document = yaml.load(root / "params.yaml")
    document["variants"]["wcae"]["train"]["learning_rate"] = 0.1
    yaml.dump(document, root / "params.yaml")
    with pytest.raises(RatewrightError, match="packed with other parameters of wcae, target, seed or shards"):
        take.take(root, str(trained))
    with pytest.raises(RatewrightError, match="not a readable checkpoint"):
        take.take(root, str(tmp_path))
    assert not (root / "models").exists()
