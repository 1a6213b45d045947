"""`ratewright sweep` on a finished run: what its stages say to MLflow, and what DVC shows."""

import csv
import sqlite3
from pathlib import Path

from pipeline.schedule.git import Repository
from tests.pipeline.conftest import Checkout

NAMES = {f"mine-tolerance={tolerance}": tolerance for tolerance in ("0.06", "0.08")}


def test_points_are_compared_in_dvc_and_in_mlflow(finished: Checkout, tmp_path: Path) -> None:
    """The key reaches the calibration alone: data sets, shards and the training come from DVC's cache."""
    checkout = finished.copy_to(tmp_path / "checkout")
    before = {path: path.read_bytes() for path in (checkout.root / name for name in ("params.yaml", "dvc.lock"))}
    values = ",".join(NAMES.values())
    said = checkout.ratewright("sweep", "-S", f"variants.wcae.calibrate.tolerance={values}", "--name", "mine")
    assert said.count("finished  ") == 4, said
    assert {line.split()[1] for line in said.splitlines() if line.startswith("recorded")} == NAMES.keys()
    assert {path: path.read_bytes() for path in before} == before
    assert not Repository(checkout.root).git("status", "--porcelain")

    rows = {row["Experiment"]: row for row in csv.DictReader(checkout.dvc("exp", "show", "--csv").splitlines())}
    shown = {line.split()[0]: line.split() for line in said.splitlines() if line.startswith(" mine-")}
    for name, tolerance in NAMES.items():
        assert rows[name]["variants.wcae.calibrate.tolerance"] == tolerance
        bpp = next(value for key, value in rows[name].items() if key.endswith("bundled-test.at_target.bpp"))
        assert shown[name][1:4] == [tolerance, "wcae", f"{float(bpp):.5g}"]
    with sqlite3.connect(checkout.root / "mlflow.db") as database:
        query = "select runs.name, tags.value from runs join tags using (run_uuid) where tags.key = 'dvc_experiment'"
        runs = database.execute(query).fetchall()
        (places,) = database.execute("select count(distinct experiment_id) from runs").fetchone()
    assert {(name, value) for name, value in runs if not name.startswith("fine-tune")} == {
        (f"{stage} wcae", name) for stage in ("calibrate", "evaluate") for name in NAMES
    }
    assert places == 1
