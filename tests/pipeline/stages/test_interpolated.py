"""Classic codecs with whole qualities through evaluate and choose: interpolated rows beside their real points."""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.codecs.baselines.lossy import BASELINES, AtQuality
from components.rate.real_rate import bpp_of
from pipeline.cli.tables import lossy_table
from pipeline.config import params
from pipeline.documents import Evaluation, Leaderboard, read
from pipeline.documents.leaderboard import RankedRow
from pipeline.paths import Layout
from pipeline.stages import evaluate
from pipeline.stages.choose import ranking
from tests.data_sets import write_data_set
from tests.small_profile import small_params

# Warnings inside MLflow and what it imports are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = ("avif", "heic", "webp")
SETS = ("bundled-calibration", "bundled-test")
TARGET = 0.6


def checkout(root: Path, empty_database: Path, photographs: list[Rgb], target_bpp: float) -> Path:
    shutil.copy(empty_database, root)
    document = small_params()
    document["fine_tuned"], document["target_bpp"], document["baselines"] = {}, target_bpp, list(NAMES)
    with (root / "params.yaml").open("w") as file:
        YAML().dump(document, file)
    write_data_set(root / "data" / "raw" / "bundled-calibration", photographs[:2])
    write_data_set(root / "data" / "raw" / "bundled-test", photographs[2:4])
    return root


@pytest.fixture(scope="module")
def tree(photographs: list[Rgb], empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout after `evaluate` of all three."""
    root = checkout(tmp_path_factory.mktemp("interpolated"), empty_database, photographs, TARGET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")  # what MLflow sets is taken back
        patch.delenv("MLFLOW_TRACKING_URI")
        for name in NAMES:
            evaluate.run(root, name)
        yield root


def evaluated(root: Path, name: str) -> Evaluation:
    return read(Evaluation, Layout(root).metrics(name))


def ranked(root: Path) -> Leaderboard:
    return ranking([evaluated(root, name) for name in NAMES], params.load(root))


@pytest.mark.parametrize("name", ["avif", "heic"])
def test_the_real_points_are_those_of_two_neighbouring_qualities(name: str, tree: Path, photographs: list[Rgb]) -> None:
    found = evaluated(tree, name)
    assert found.quality is not None
    originals = dict(zip(SETS, (photographs[:2], photographs[2:4]), strict=True))
    qualities = dict(zip(SETS, (found.quality.as_calibrated, found.quality.at_target), strict=True))
    for test_set, quality in qualities.items():
        results = found.test_sets[test_set]
        assert quality is not None
        assert results.around_target is not None
        for step, point in enumerate(results.around_target):
            assert point.setting == f"quality {quality + step:g}"
            assert point.bpp == bpp_of(AtQuality(BASELINES[name], quality + step), originals[test_set])
        below, above = results.around_target
        assert below.bpp <= TARGET < above.bpp
        assert results.at_target is not None
        assert dict(results.at_target).items() <= dict(below).items(), "the real point stays what codecs compare at"


def test_rows_are_interpolated_to_the_target_and_name_their_real_points(tree: Path) -> None:
    board = ranked(tree)
    rows = {row.name: row for row in board.rows}
    for ranking_rows in (board.rows, board.calibration.rows):
        for row in ranking_rows:
            if row.name == "webp":
                continue
            assert row.around_target is not None
            below, above = row.around_target
            assert row.bpp == TARGET
            for figure in ("psnr_db", "pooled_psnr_db", "ssim", "ssimulacra2", "psnr_hvs_m_db"):
                low, value, high = (getattr(one, figure) for one in (below, row, above))
                assert low < value < high, figure
            assert row.note == (
                f"interpolated between {below.setting} ({below.bpp:.4f} bpp, {below.psnr_db:.2f} dB) "
                f"and {above.setting} ({above.bpp:.4f} bpp, {above.psnr_db:.2f} dB)"
            )
    assert rows["webp"].around_target is None
    assert rows["webp"].note is None
    written = rows["webp"].model_dump()
    assert not {"around_target", "around_target_why"} & written.keys(), (
        "rows of codecs that meet the rate are as before"
    )
    assert Leaderboard.model_validate_json(board.model_dump_json()) == board
    assert board.winner is None, "no file has an interpolated row's figures"


def test_pictures_are_kept_at_both_real_points(tree: Path) -> None:
    rows = list(csv.DictReader((tree / "evaluation" / "heic" / "images.csv").read_text().splitlines()))
    for test_set in SETS:
        results = evaluated(tree, "heic").test_sets[test_set]
        assert results.around_target is not None
        for label, point in zip(("at_target", "above_target"), results.around_target, strict=True):
            sizes = [int(row["bytes"]) for row in rows if (row["test_set"], row["point"]) == (test_set, label)]
            assert sum(sizes) == point.bytes
    labels = {row["point"] for row in csv.DictReader((tree / "evaluation" / "webp" / "images.csv").open())}
    assert labels == {"as_calibrated", "at_target"}


def test_the_terminal_stars_interpolated_rows(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    board = ranked(tree)
    Console(width=200).print(lossy_table(board))
    said = capsys.readouterr().out
    for row in board.rows:
        assert (f"{row.name} *" in said) == (row.name != "webp")
        assert (f"* {row.name}: {row.note}" in said) == (row.name != "webp")


def test_a_second_evaluation_says_the_same_but_for_seconds(tree: Path, tmp_path: Path) -> None:
    again = shutil.copytree(tree, tmp_path / "again")
    shutil.rmtree(again / "evaluation")
    evaluate.run(again, "heic")
    seconds = {"encode_s_per_mpx", "decode_s_per_mpx"}
    first, second = (
        [
            point.model_dump(exclude=seconds)
            for results in evaluated(root, "heic").test_sets.values()
            for point in (results.as_calibrated, *(results.around_target or ()))
        ]
        for root in (tree, again)
    )
    assert first == second
    kept = "evaluation/heic/reconstructions/bundled-test"
    for path in (tree / kept).iterdir():
        assert path.read_bytes() == (again / kept / path.name).read_bytes()


def test_a_target_above_the_highest_quality_takes_its_real_point(
    photographs: list[Rgb], empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(evaluate, "CURVE", ())
    root = checkout(tmp_path, empty_database, photographs, 30.0)
    evaluate.run(root, "heic")
    results = evaluated(root, "heic").test_sets["bundled-test"]
    assert results.around_target is None
    assert results.around_target_why == "quality 48 is the highest, and its rate is below the target"
    (row,) = ranking([evaluated(root, "heic")], params.load(root)).rows
    assert results.at_target is not None
    assert (row.bpp, row.psnr_db) == (results.at_target.bpp, results.at_target.psnr_db)
    assert row.note == f"not interpolated: {results.around_target_why}"
    assert isinstance(row, RankedRow)


def test_a_target_below_the_lowest_quality_has_no_figures(
    photographs: list[Rgb], empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest real point is above the target: it says so in the reason, and is not ranked beside the others."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(evaluate, "CURVE", ())
    calm = [np.full_like(photographs[0], 99), photographs[2]]
    lowest = bpp_of(AtQuality(BASELINES["heic"], 0), [photographs[2]])
    root = checkout(tmp_path, empty_database, calm, 0.9 * lowest)
    write_data_set(root / "data" / "raw" / "bundled-calibration", calm[:1])
    write_data_set(root / "data" / "raw" / "bundled-test", calm[1:])
    evaluate.run(root, "heic")
    results = evaluated(root, "heic").test_sets["bundled-test"]
    assert results.around_target is None
    assert results.at_target is None
    (row,) = ranking([evaluated(root, "heic")], params.load(root)).rows
    assert row.psnr_db is None
    assert (
        row.psnr_db_why
        == f"heic does not reach {0.9 * lowest:g} bpp: its lowest rate on these pictures is {lowest:.4f} bpp"
    )
