"""The pipeline as its user runs it: a clone, `dvc repro`, `dvc repro` again, a changed parameter, a registered model.

Budgets are a few steps: what is tested is that everything runs, and that nothing runs without need.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ruamel.yaml import YAML
from safetensors.torch import load_file

from components.codecs.checkpoint import read_facts
from components.storage.atomic import sha256_of
from pipeline.schedule.dvc_graph import stage_nodes

Clone = tuple[Path, dict[str, str]]
ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-c", "from pipeline.cli import main; main()")


def run(clone: Clone, *command: str, cwd: Path | None = None) -> str:
    """The command's output; a failure shows it."""
    folder, environment = clone
    done = subprocess.run(command, cwd=cwd or folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clone(new_clone: Callable[[], Clone]) -> Clone:
    """A checkout with the smallest budgets after one `dvc repro`, committed."""
    result = new_clone()
    run(result, "dvc", "repro")
    run(result, "git", "add", "-A")
    run(result, "git", "commit", "-q", "-m", "a run")
    return result


def stages_run(output: str) -> list[str]:
    """The stages whose commands `dvc repro` ran."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_every_stage_leaves_what_it_promises(clone: Clone) -> None:
    folder, _ = clone
    board = read(folder / "leaderboard.json")
    assert {row["name"] for row in board["rows"]} == {"wcae", "nowcae", "jpeg", "webp"}
    assert board["winner"] in ("wcae", "nowcae")
    for name in ("wcae", "nowcae"):
        calibration = read(folder / "models" / name / "calibration.json")
        assert 0.95 * 0.15 <= calibration["bpp"] <= 0.15
        metrics = read(folder / "evaluation" / name / "metrics.json")
        point = metrics["test_sets"]["bundled-test"]["at_target"]
        assert 0.95 * 0.15 <= point["bpp"] <= 0.15
        assert point["bpp"] == pytest.approx(8 * point["bytes"] / point["pixels"])
    registered = read(folder / "registry.json")
    assert registered["decision"] == "promoted"
    assert registered["aliases"]["champion"] == registered["version"] == "1"
    page = (folder / "report" / "index.html").read_text()
    assert board["winner"] in page


def test_a_second_run_runs_register_alone_and_changes_nothing(clone: Clone) -> None:
    folder, _ = clone
    before = (folder / "registry.json").read_bytes()
    assert stages_run(run(clone, "dvc", "repro")) == ["register"]
    assert (folder / "registry.json").read_bytes() == before
    assert run(clone, "git", "status", "--porcelain") == ""


def test_a_changed_variant_runs_its_own_stages_and_what_follows(clone: Clone) -> None:
    folder, _ = clone
    output = run(clone, "dvc", "exp", "run", "-S", "variants.wcae.train.steps=8")
    assert stages_run(output) == ["train@wcae", "calibrate@wcae", "evaluate@wcae", "choose", "report", "register"]
    assert "wcae" in run(clone, "dvc", "metrics", "diff")
    history = (folder / "models" / "wcae" / "history.jsonl").read_text().splitlines()
    assert json.loads(history[-1])["step"] == 8


def test_the_champion_codes_a_photograph_from_another_folder(clone: Clone, tmp_path: Path) -> None:
    folder, _ = clone
    photo = tmp_path / "photo.png"
    with Image.open(folder / "data" / "raw" / "bundled-test" / "chelsea.png") as chelsea:
        chelsea.crop((0, 0, 301, 203)).save(photo)
    champion = "models:/image-codec-0.15bpp@champion"
    run(clone, *COMMAND, "compress", "photo.png", "photo.rw", "--model", champion, cwd=tmp_path)
    run(clone, *COMMAND, "decompress", "photo.rw", "back.png", cwd=tmp_path)
    with Image.open(tmp_path / "back.png") as back:
        assert back.size == (301, 203)
    assert "301x203" in run(clone, *COMMAND, "info", "photo.rw", cwd=tmp_path)


def test_both_sets_are_measured_and_curves_have_bd_rates(clone: Clone) -> None:
    """The calibration set at the calibrated gain: the same rate there as calibrate found, file by file."""
    folder, _ = clone
    board = read(folder / "leaderboard.json")
    assert board["calibration"]["test_set"] == "bundled-calibration"
    assert {row["name"] for row in board["calibration"]["rows"]} == {row["name"] for row in board["rows"]}
    metrics = read(folder / "evaluation" / "nowcae" / "metrics.json")
    points = metrics["test_sets"]["bundled-calibration"]
    assert points["at_target"] == points["as_calibrated"]
    assert points["at_target"]["bpp"] == read(folder / "models" / "nowcae" / "calibration.json")["bpp"]
    curve = metrics["curve"]["bundled-test"]
    assert [point["bpp"] for point in curve] == sorted(point["bpp"] for point in curve)
    assert metrics["test_sets"]["bundled-test"]["at_target"]["bpp"] in [point["bpp"] for point in curve]
    for row in board["rows"]:
        assert row["bd_rate_percent"] is None
        assert row["bd_rate_percent_why"] == "jpeg2000 is not among the baselines"


@pytest.fixture(scope="module")
def kept(clone: Clone) -> Path:
    """The folder of the run after `ratewright keep real`."""
    assert "results/real" in run(clone, *COMMAND, "keep", "real")
    return clone[0] / "results" / "real"


def test_a_run_that_is_kept(clone: Clone, kept: Path, tmp_path: Path) -> None:
    """Figures as data, no address of a mirror, and a checkpoint that compresses without a registry."""
    folder, environment = clone
    board = read(kept / "leaderboard.json")
    assert board == read(folder / "leaderboard.json")
    budget = read(kept / "run.json")["variants"][board["winner"]]
    assert budget["training_s"] > 0
    assert budget["patches"] == 4 * budget["step"]
    with (kept / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["codec"] for row in rows} == {row["name"] for row in board["rows"]}
    there = [
        row for row in rows if (row["codec"], row["test_set"], row["point"]) == ("jpeg", "bundled-test", "at_target")
    ]
    point = read(kept / "evaluations.json")["jpeg"]["test_sets"]["bundled-test"]["at_target"]
    assert sum(int(row["bytes"]) for row in there) == point["bytes"]
    assert "mirror: null" in (kept / "params.yaml").read_text()
    assert sorted(path.name for path in kept.glob("bundled-test_*.png"))

    photo = str(folder / "data" / "raw" / "bundled-test" / "chelsea.png")
    nowhere = folder, {**environment, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    run(nowhere, *COMMAND, "compress", photo, str(tmp_path / "photo.rw"))
    run(nowhere, *COMMAND, "decompress", str(tmp_path / "photo.rw"), str(tmp_path / "back.png"))
    with Image.open(tmp_path / "back.png") as back, Image.open(photo) as original:
        assert back.size == original.size


def test_readme_has_the_figures_of_a_kept_run(clone: Clone, kept: Path) -> None:
    folder, _ = clone
    readme = folder / "README.md"
    readme.write_text("# Codecs\n<!-- results/real -->\n<!-- end of results/real -->\nThe end.\n")
    run(clone, sys.executable, "-m", "pipeline.reporting.kept_runs", "--write")
    text = readme.read_text()
    for row in read(kept / "leaderboard.json")["rows"]:
        assert f"{row['psnr_db']:.2f}" in text
    assert text.endswith("The end.\n")
    assert (kept / "bundled-test_psnr_db.png").is_file()
    run(clone, sys.executable, "-m", "pipeline.reporting.kept_runs", "--check")
    readme.write_text(text.replace("| jpeg |", "| jpg |"))
    with pytest.raises(AssertionError, match="not current"):
        run(clone, sys.executable, "-m", "pipeline.reporting.kept_runs", "--check")


def with_qae(folder: Path, name: str, hyperparameters: dict[str, Any], train: dict[str, Any]) -> None:
    """Add one block to params.yaml."""
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    small = YAML(typ="safe").load(ROOT / "params.yaml")["variants"]["qae"]
    sizes = {"width": 24, "bits": [1, 2], "depths": [1, 1, 1, 1], "channels": 4}
    params["variants"][name] = {
        "codec": "qae",
        "hyperparameters": {**sizes, **hyperparameters},
        "train": {**small["train"], "steps": 4, "validate_every": 2, "validation_patches": 4, **train},
        "calibrate": {"tolerance": 0.01},
    }
    yaml.dump(params, folder / "params.yaml")


def test_a_new_variant_is_one_block_of_params(clone: Clone) -> None:
    """One without a lambda: its bit depth and width are picked below the target, wherever they lie."""
    folder, _ = clone
    run(clone, "git", "stash", "-q")
    run(clone, "dvc", "checkout", "-q", "--force")
    with_qae(folder, "added", {}, {})
    output = run(clone, "dvc", "repro")
    assert stages_run(output) == ["train@added", "calibrate@added", "evaluate@added", "choose", "report", "register"]
    assert "train added: no weights of resnet101 are named: the encoder starts from scratch" in output
    calibration = read(folder / "models" / "added" / "calibration.json")
    assert calibration["lmbda"] is None
    assert 0 < calibration["bpp"] <= 0.15
    assert calibration["setting"] in output
    assert {row["phase"] for row in calibration["history"]} == {"trained", "gain_search", "final"}
    metrics = read(folder / "evaluation" / "added" / "metrics.json")
    assert 0 < metrics["test_sets"]["bundled-test"]["at_target"]["bpp"] <= 0.15
    assert [point["setting"] for point in metrics["operating_points"]["bundled-test"]] == [
        "1-bit code, 24 channels",
        "2-bit code, 24 channels",
    ]
    assert "added" in {row["name"] for row in read(folder / "leaderboard.json")["rows"]}
    page = (folder / "report" / "index.html").read_text()
    assert "The settings of added" in page
    assert "Where the bits went" in page


@pytest.mark.parametrize(
    ("hyperparameters", "train", "said"),
    [
        (
            {"mu": 0.1},
            {},
            "needs train.weights.vgg19, the path or address of a file such as torchvision's vgg19-dcbb9e9d.pth",
        ),
        ({}, {"weights": {"resnet101": {"location": "gone.pth", "sha256": "0" * 64}}}, "gone.pth: no such file"),
        ({}, {"weights": {"resnet50": {"location": "params.yaml", "sha256": "0" * 8}}}, "has the wrong content"),
    ],
)
def test_what_cannot_be_trained_is_one_line(hyperparameters: Any, train: Any, said: str, clone: Clone) -> None:
    folder, environment = clone
    with_qae(folder, "wrong", hyperparameters, train)
    command = (sys.executable, "-m", "pipeline.stages.train", "wrong")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "models" / "wrong").exists()


def with_fine_tuned(folder: Path, codec: str = "wcae", **train: Any) -> None:
    """Add wcae_ft, which goes on from wcae on pictures of its own, to params.yaml as it is in the last commit."""
    yaml = YAML()
    subprocess.run(["git", "checkout", "-q", "params.yaml"], cwd=folder, check=True)
    params = yaml.load(folder / "params.yaml")
    params["datasets"]["bundled-fine-tune"] = YAML().load(ROOT / "profiles" / "datasets.yaml")["bundled-fine-tune"]
    wcae = params["variants"]["wcae"]
    params["fine_tuned"]["wcae_ft"] = {
        "start": "wcae",
        "data": "bundled-fine-tune",
        "codec": codec,
        "hyperparameters": wcae["hyperparameters"],
        "train": {**wcae["train"], "lmbda": None, "steps": 8, "validate_every": 4, **train},
        "calibrate": wcae["calibrate"],
    }
    yaml.dump(params, folder / "params.yaml")


def test_a_fine_tuned_variant_goes_on_from_its_start(clone: Clone) -> None:
    folder, _ = clone
    run(clone, "git", "stash", "-q")
    run(clone, "dvc", "checkout", "-q", "--force")
    with_fine_tuned(folder, learning_rate=1e-9)
    assert set(stages_run(run(clone, "dvc", "repro"))) == {
        "shard_fine_tuned@wcae_ft",
        "fine_tune@wcae_ft",
        "calibrate_fine_tuned@wcae_ft",
        "evaluate_fine_tuned@wcae_ft",
        "choose",
        "report",
        "register",
    }
    drawn = {node.name: node for node in stage_nodes(folder)}
    assert drawn["fine_tune@wcae_ft"].upstream == (
        "fetch@bundled-calibration",
        "shard_fine_tuned@wcae_ft",
        "train@wcae",
    )
    assert drawn["calibrate_fine_tuned@wcae_ft"].meta == {"accelerator": True}
    models = folder / "models"
    start, tuned = (models / name / "trained.safetensors" for name in ("wcae", "wcae_ft"))
    facts, begun = read_facts(tuned), read_facts(start)
    assert facts["start"] == {"variant": "wcae", "sha256": sha256_of(start), "lmbda": begun["lmbda"]}
    assert begun["start"] is None
    assert facts["data_sha256"] == sha256_of(folder / "data" / "shards" / "wcae_ft" / "index.json")
    first = json.loads((models / "wcae_ft" / "history.jsonl").read_text().splitlines()[0])
    assert first["lmbda"] == begun["lmbda"], "the lambda that its start ended at"
    before, after = load_file(start), load_file(tuned)
    learned = [key for key in before if key.endswith("weight")]
    assert learned
    assert max(float((after[key] - before[key]).abs().max()) for key in learned) < 1e-6
    calibration = read(models / "wcae_ft" / "calibration.json")
    assert 0.95 * 0.15 <= calibration["bpp"] <= 0.15
    assert "fine_tune" in {row["phase"] for row in calibration["history"]}
    assert "wcae_ft" in {row["name"] for row in read(folder / "leaderboard.json")["rows"]}
    assert "wcae_ft" in (folder / "report" / "index.html").read_text()
    assert stages_run(run(clone, "dvc", "repro")) == ["register"]


def test_a_fine_tuned_variant_follows_its_start_and_not_the_other_way(clone: Clone) -> None:
    folder, _ = clone
    with_fine_tuned(folder, learning_rate=1e-4)
    tuned, start = "fine_tune@wcae_ft", "train@wcae"
    assert stages_run(run(clone, "dvc", "repro", tuned)) == [tuned]
    before = read_facts(folder / "models" / "wcae_ft" / "trained.safetensors")
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("learning_rate: 0.003", "learning_rate: 0.002", 1))
    assert stages_run(run(clone, "dvc", "repro", tuned)) == [start, tuned]
    after = read_facts(folder / "models" / "wcae_ft" / "trained.safetensors")
    assert after["training"] != before["training"], "an unfinished training from another start is not gone on with"


def test_a_start_whose_weights_do_not_fit_is_one_line(clone: Clone) -> None:
    folder, environment = clone
    with_fine_tuned(folder, codec="nowcae")
    command = (sys.executable, "-m", "pipeline.stages.train", "wcae_ft")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "models/wcae/trained.safetensors: the weights do not fit codec 'nowcae'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
