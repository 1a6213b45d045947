"""Which kept runs are refused: a small run of real stages as `ratewright keep` wrote it, and the reference run."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.errors import RatewrightError
from pipeline.reporting import provenance
from pipeline.reporting.archive import KeptRun
from pipeline.reporting.disagreements import disagreements
from pipeline.reporting.results_pages import TRAINING, check, page_text, plots, section, summary
from tests.pipeline.conftest import Checkout

REAL = Path(__file__).parents[3] / "results" / "real"


@pytest.fixture(scope="module")
def kept(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with the run `small` in results/, and pages with its tables."""
    copy = finished.copy_to(tmp_path_factory.mktemp("kept") / "checkout")
    copy.ratewright("keep", "small")
    run = KeptRun.read(copy.root / "results" / "small")
    for page, content in (("README.md", summary), ("docs/results.md", section)):
        path = copy.root / page
        path.write_text("<!-- results/small -->\n<!-- end of results/small -->\n")
        path.write_text(page_text(path, [run], content))
    return copy.root


@pytest.fixture
def root(kept: Path, tmp_path: Path) -> Path:
    """A copy of `kept` that a test may change."""
    for part in ("results", "docs/results.md", "README.md"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (shutil.copytree if (kept / part).is_dir() else shutil.copy)(kept / part, tmp_path / part)
    return tmp_path


def rewrite(path: Path, change: Callable[[Any], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2) + "\n")


def refused(root: Path) -> str:
    with pytest.raises(RatewrightError) as caught:
        check(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_untouched_run_passes(root: Path) -> None:
    check(root)
    assert disagreements(KeptRun.read(root / "results" / "small")) == []
    assert provenance.sentence(KeptRun.read(root / "results" / "small")) == ""
    assert not (root / "results" / "small" / provenance.RECORD).exists()


def test_a_changed_value_of_the_lock_is_refused(root: Path) -> None:
    lock = root / "results" / "small" / "dvc.lock"
    lock.write_text(lock.read_text().replace("steps: 12", "steps: 13"))
    assert "train@wcae, steps: dvc.lock says 13, run.json says 12" in refused(root)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("step", 13, "steps: dvc.lock says 12, run.json says 13"),
        ("precision", "16-mixed", 'precision: champion.safetensors says "32-true", run.json says "16-mixed"'),
        ("lmbda", 0.5, ", run.json says 0.5"),
        ("data_sha256", "0", ', run.json says "0"'),
        ("git_commit", "0", ', run.json says "0"'),
        ("patches", 1, "patches: dvc.lock says 48, run.json says 1"),
    ],
)
def test_a_changed_fact_of_a_checkpoint_is_refused(root: Path, key: str, value: object, said: str) -> None:
    path = root / "results" / "small" / "run.json"
    rewrite(path, lambda document: document["variants"]["wcae"].update({key: value}))
    if key == "lmbda":
        said = "trained lmbda: run.json says 0.5, calibrations.json says"
    assert said in refused(root)


def test_another_checkpoint_is_refused(root: Path) -> None:
    champion = root / "results" / "small" / "champion.safetensors"
    data = bytearray(champion.read_bytes())
    data[-1] ^= 1
    champion.write_bytes(data)
    said = "calibrate@wcae, md5 of models/wcae/calibrated.safetensors: dvc.lock says "
    assert said in refused(root)


def test_a_changed_calibration_is_refused(root: Path) -> None:
    path = root / "results" / "small" / "calibrations.json"
    rewrite(path, lambda document: document["wcae"].update(gain=0.25))
    said = refused(root)
    assert "calibrate@wcae, gain: the last trial in calibrations.json says " in said
    assert "calibrations.json says 0.25" in said


def test_a_changed_table_is_refused(root: Path) -> None:
    """The leaderboard that tables are drawn from, a row of pictures, and the table on a page."""
    folder, page = root / "results" / "small", root / "docs" / "results.md"
    board = (folder / "leaderboard.json").read_bytes()
    rewrite(folder / "leaderboard.json", lambda document: document["rows"][0].update(psnr_db=99.5))
    assert "leaderboard.json says 99.5" in refused(root)
    (folder / "leaderboard.json").write_bytes(board)

    images = (folder / "images.csv").read_text()
    (folder / "images.csv").write_text(images.replace(",at_target,0.png,", ",at_target,1.png,", 1))
    assert "images.csv: dvc.lock says" in refused(root)
    (folder / "images.csv").write_text(images)

    page.write_text(page.read_text().replace("**wcae** | ", "**wcae** | 9", 1))
    said = refused(root)
    assert "docs/results.md is not current" in said
    assert "it has '| **wcae** | 9" in said
    assert "results/ gives '| **wcae** | 0" in said


def test_a_record_excuses_exactly_what_it_names(root: Path) -> None:
    folder = root / "results" / "small"
    lock = (folder / "dvc.lock").read_text()
    (folder / "dvc.lock").write_text(lock.replace("steps: 12", "steps: 13"))
    provenance.record(KeptRun.read(folder))
    provenance.check(KeptRun.read(folder))
    assert "train@wcae, steps: dvc.lock says 13, run.json says 12" in provenance.sentence(KeptRun.read(folder))
    (folder / "dvc.lock").write_text(lock.replace("steps: 12", "steps: 14"))
    assert "train@wcae, steps: dvc.lock says 14, run.json says 12" in refused(root)
    (folder / "dvc.lock").write_text(lock)
    assert "excuses what does not differ: " in refused(root)
    provenance.record(KeptRun.read(folder))
    check(root)


def test_the_flagship_is_one_run() -> None:
    run = KeptRun.read(REAL.parent / "flagship")
    provenance.check(run)
    assert provenance.sentence(run) == ""
    assert "minutes of training" in section(run)


def test_variants_on_other_shards_are_told_and_minutes_that_are_not_known_are_not(root: Path) -> None:
    run = KeptRun.read(root / "results" / "small")

    def change(found: Any) -> None:
        for variant in found["variants"].values():
            variant["training_s"] = None
        variant["data_sha256"] = "f" * 64

    rewrite(run.folder / "run.json", change)
    provenance.record(KeptRun.read(run.folder))
    changed = KeptRun.read(run.folder)
    assert "some of them on other shards of the same pictures" in provenance.sentence(changed)
    assert "minutes of training" in section(run)
    assert "minutes of training" not in section(changed)


def test_trainings_are_kept_with_their_validations(root: Path) -> None:
    run = KeptRun.read(root / "results" / "small")
    assert {name: rows[-1].step for name, rows in run.histories.items()} == {
        name: budget.step for name, budget in run.run.variants.items()
    }
    assert TRAINING in plots(run)
    assert f"results/small/{TRAINING}" in section(run)
    assert re.search(r"\([0-9.]+ core-hours, about [0-9.e-]+ kWh at 12.5 W a core\)", section(run))
    (run.folder / "histories.json").unlink()  # as in runs that were kept before
    older = KeptRun.read(run.folder)
    assert TRAINING not in plots(older)
    assert TRAINING not in section(older)


def test_the_reference_run_passes_by_its_record_alone(tmp_path: Path) -> None:
    """Its variants were trained on three commits, `minnen` for 240 steps and not for 200."""
    folder = tmp_path / "results" / "real"
    shutil.copytree(REAL, folder, ignore=shutil.ignore_patterns("*.png"))
    run = KeptRun.read(folder)
    provenance.check(run)
    for said in ("3 commits (d56f4a6e0, 23be61539, 31c7c1e91)", "dvc.lock says 200, run.json says 240"):
        assert said in provenance.sentence(run)
        assert said in summary(run)
        assert said in section(run)
    (folder / provenance.RECORD).unlink()
    said = refused(tmp_path)
    assert 'git_commit: run.json for haar_hyper_long says "d56f4a6e' in said
    assert 'run.json says "31c7c1e9' in said
    assert "more" in said


def test_a_record_of_mixed_commits_excuses_no_other_commit(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "real"
    shutil.copytree(REAL, folder, ignore=shutil.ignore_patterns("*.png"))
    rewrite(folder / "run.json", lambda document: document["variants"]["atc"].update(git_commit="0123"))
    said = refused(tmp_path)
    assert said.endswith('says "d56f4a6e0616c6d2d1726a89eac1abe811dceec1", run.json says "0123"')
