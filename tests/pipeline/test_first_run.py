"""A checkout after one `dvc repro`, and what is done with it: run again, compress with its champion, keep it."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline.reporting.archive import KeptRun
from pipeline.reporting.results_pages import plots, section
from tests.pipeline.conftest import TARGET_BPP, TOLERANCE, Checkout, stages_run


def test_every_stage_leaves_what_it_promises(finished: Checkout) -> None:
    board = finished.read("leaderboard.json")
    assert {row["name"] for row in board["rows"]} == {"wcae", "jpeg"}
    assert board["winner"] == "wcae"
    calibration = finished.read("models/wcae/calibration.json")
    point = finished.read("evaluation/wcae/metrics.json")["test_sets"]["bundled-test"]["at_target"]
    for found in (calibration, point):
        assert (1 - TOLERANCE) * TARGET_BPP <= found["bpp"] <= TARGET_BPP
    assert point["bpp"] == pytest.approx(8 * point["bytes"] / point["pixels"])
    registered = finished.read("registry.json")
    assert registered["decision"] == "promoted"
    assert registered["aliases"]["champion"] == registered["version"] == "1"
    assert board["winner"] in (finished.root / "report" / "index.html").read_text()


def test_both_sets_are_measured_and_curves_have_bd_rates(finished: Checkout) -> None:
    """The calibration set at the calibrated gain: the same rate there as calibrate found, file by file."""
    board = finished.read("leaderboard.json")
    assert board["calibration"]["test_set"] == "bundled-calibration"
    assert {row["name"] for row in board["calibration"]["rows"]} == {row["name"] for row in board["rows"]}
    metrics = finished.read("evaluation/wcae/metrics.json")
    points = metrics["test_sets"]["bundled-calibration"]
    assert points["at_target"] == points["as_calibrated"]
    assert points["at_target"]["bpp"] == finished.read("models/wcae/calibration.json")["bpp"]
    curve = metrics["curve"]["bundled-test"]
    assert [point["bpp"] for point in curve] == sorted(point["bpp"] for point in curve)
    assert metrics["test_sets"]["bundled-test"]["at_target"]["bpp"] in [point["bpp"] for point in curve]
    for row in board["rows"]:
        assert row["bd_rate_percent"] is None
        assert row["bd_rate_percent_why"] == "jpeg2000 is not among the baselines"


def test_peak_memory_is_that_of_coding_alone(finished: Checkout) -> None:
    """A process that has imported torch holds more than 200 MB before it codes anything."""
    assert 0 < finished.read("evaluation/jpeg/metrics.json")["peak_mb"] < 100


@pytest.fixture(scope="module")
def copy(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return finished.copy_to(tmp_path_factory.mktemp("copy") / "checkout")


def test_a_second_run_runs_register_alone_and_changes_nothing(copy: Checkout) -> None:
    before = (copy.root / "registry.json").read_bytes()
    assert stages_run(copy.dvc("repro")) == ["register"]
    assert (copy.root / "registry.json").read_bytes() == before
    assert copy.run("git", "status", "--porcelain") == ""


@pytest.fixture
def photo(finished: Checkout, tmp_path: Path) -> Path:
    with Image.open(finished.root / "data" / "raw" / "bundled-test" / "0.png") as picture:
        picture.crop((0, 0, 101, 73)).save(tmp_path / "photo.png")
    return tmp_path


def test_the_champion_codes_a_photograph_from_another_folder(finished: Checkout, photo: Path) -> None:
    """By its name in the registry; the stream's model hash finds it again."""
    champion = f"models:/image-codec-{TARGET_BPP}bpp@champion"
    finished.ratewright("compress", "photo.png", "photo.rw", "--model", champion, cwd=photo)
    finished.ratewright("decompress", "photo.rw", "back.png", cwd=photo)
    assert "101x73" in finished.ratewright("info", "photo.rw", cwd=photo)
    with Image.open(photo / "back.png") as back:
        assert back.size == (101, 73)


def test_a_run_that_is_kept(copy: Checkout, photo: Path) -> None:
    """Figures as data, no address of a mirror, and a checkpoint that compresses without a registry."""
    assert "results/flagship" in copy.ratewright("keep", "flagship")
    kept = copy.root / "results" / "flagship"
    board = copy.read("results/flagship/leaderboard.json")
    assert board == copy.read("leaderboard.json")
    budget = copy.read("results/flagship/run.json")["variants"][board["winner"]]
    assert budget["training_s"] > 0
    assert budget["patches"] == 4 * budget["step"]
    with (kept / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["codec"] for row in rows} == {row["name"] for row in board["rows"]}
    there = [
        row for row in rows if (row["codec"], row["test_set"], row["point"]) == ("jpeg", "bundled-test", "at_target")
    ]
    point = copy.read("results/flagship/evaluations.json")["jpeg"]["test_sets"]["bundled-test"]["at_target"]
    assert sum(int(row["bytes"]) for row in there) == point["bytes"]
    assert "mirror: null" in (kept / "params.yaml").read_text()
    assert sorted(path.name for path in kept.glob("bundled-test_*.png"))

    for command in (("compress", "photo.png", "photo.rw"), ("decompress", "photo.rw", "back.png")):
        copy.ratewright(*command, cwd=photo, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    with Image.open(photo / "back.png") as back:
        assert back.size == (101, 73)

    run = KeptRun.read(kept)
    for row in board["rows"]:
        assert f"{row['psnr_db']:.2f}" in section(run)
    assert "bundled-test_psnr_db.png" in plots(run)


def test_a_run_that_dvc_lock_does_not_know_is_not_kept(copy: Checkout) -> None:
    lock = copy.root / "dvc.lock"
    text = lock.read_text()
    lock.write_text(text.replace("steps: 12", "steps: 13"))
    said = copy.refused("keep", "other")
    lock.write_text(text)
    assert "train@wcae, steps: dvc.lock says 13, run.json says 12" in said
    assert not (copy.root / "results" / "other").exists()


def test_the_training_has_its_history(finished: Checkout) -> None:
    lines = (finished.root / "models" / "wcae" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [6, 12]
