"""Changes of params.yaml after a run: what DVC runs then, and what a variant that is new or fine-tuned leaves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from components.codecs.checkpoint import read_facts
from components.storage.atomic import sha256_of
from pipeline.schedule.dvc_graph import stage_nodes
from pipeline.stages import calibrate, choose, evaluate, report, shard, train, validate
from tests.pipeline.conftest import SETS, TARGET_BPP, TOLERANCE, Checkout, stages_run
from tests.small_profile import small_params

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Warnings inside MLflow and what it imports are not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]
ADDED = {
    "codec": "qae",
    "hyperparameters": {"width": 24, "bits": [1, 2], "depths": [1, 1, 1, 1], "channels": 4},
    "train": {**small_params()["variants"]["qae"]["train"], "steps": 4, "validate_every": 2, "validation_patches": 4},
    "calibrate": {"tolerance": 0.01},
}
"""A variant without a lambda: its bit depth and width are picked below the target, wherever they lie."""


def add_two(document: dict[str, Any]) -> None:
    """Add a variant, and one that goes on from wcae on pictures of its own."""
    document["variants"]["added"] = ADDED
    wcae = document["variants"]["wcae"]
    document["fine_tuned"]["wcae_ft"] = {
        "start": "models/wcae/trained.safetensors",
        "data": "bundled-calibration",
        "codec": "wcae",
        "hyperparameters": wcae["hyperparameters"],
        "train": {**wcae["train"], "lmbda": None, "steps": 8, "validate_every": 4, "learning_rate": 1e-9},
        "calibrate": wcae["calibrate"],
    }


def would_run(checkout: Checkout) -> list[str]:
    """The stages that `dvc repro` runs first, before it knows what they change; `register` always is one of them."""
    return [name for name in stages_run(checkout.dvc("repro", "--dry")) if name != "register"]


def test_a_changed_parameter_runs_its_own_stages_and_what_follows(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy_to(tmp_path / "checkout")
    said = checkout.dvc("exp", "run", "-S", "selection.metric=ssim")
    assert stages_run(said) == ["choose", "report", "register"]
    assert checkout.read("leaderboard.json")["metric"] == "ssim"
    assert "wcae" in checkout.dvc("metrics", "diff", "--all")
    checkout.change_params(lambda document: document["variants"]["wcae"]["train"].update(steps=8))
    assert would_run(checkout) == ["train@wcae", "calibrate@wcae", "choose"]


def test_a_leak_stops_what_would_be_trained_on_it(finished: Checkout, tmp_path: Path) -> None:
    """The sets of the run share pictures, which its params let pass."""
    checkout = finished.copy_to(tmp_path / "checkout")
    checkout.change_params(lambda document: document["validation"]["leak"].update(action="fail"))
    checkout.change_params(lambda document: document["shards"].update(patches_per_image=5))
    done = checkout.python("dvc", "repro", cwd=checkout.root, environment=checkout.environment)
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode != 0
    assert stages_run(done.stdout.decode()) == ["validate@bundled-train"]
    leaks = "leak: bundled-train: 2 pairs of pictures of"
    assert f"validate bundled-train: {leaks} bundled-test in it: 0.png is 0.png, 1.png is 1.png; {leaks} " in said
    assert f"; {leaks} bundled-calibration in it: " in said
    checkout.change_params(lambda document: document["validation"]["leak"].update(action="warn"))
    assert stages_run(checkout.dvc("repro", "shard")) == ["shard@bundled-train"], "the verdict is in DVC's cache"


def test_the_verdict_runs_no_stage_anew_that_it_lets_pass(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy_to(tmp_path / "checkout")
    checkout.change_params(lambda document: document["validation"]["text"].update(share=0.001))
    assert stages_run(checkout.dvc("repro", "shard")) == ["validate@bundled-train"]


def test_changed_code_runs_what_uses_it(finished: Checkout, tmp_path: Path) -> None:
    checkout = finished.copy_to(tmp_path / "checkout")

    def after(path: str, addition: str = "NEW = 1") -> set[str]:
        """What would run after an addition to a file, which is taken back."""
        before = (checkout.root / path).read_text()
        (checkout.root / path).write_text(f"{before}{addition}\n")
        checkout.module("pipeline.schedule.code_hashes", "--write")
        found = would_run(checkout)
        (checkout.root / path).write_text(before)
        return set(found)

    learned = {"train@wcae", "calibrate@wcae", "evaluate@wcae"}
    assert after("components/training/loop.py", "# A comment.") == set()
    assert after("components/codecs/variants/nowcae.py") == set()
    assert after("components/codecs/variants/wcae.py") == learned
    assert after("components/training/loop.py") == {"train@wcae", "calibrate@wcae"}
    assert after("components/metrics/quality.py") == {*learned, "evaluate_baseline@jpeg"}
    assert after("pipeline/reporting/style.py") == {"report"}
    assert after("profiles/manifests/kodak.json", "") == {"validate@bundled-train", *(f"fetch@{name}" for name in SETS)}


@pytest.fixture(scope="module")
def grown(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The finished run with two variants more, whose stages ran in this process; DVC knows of none of this."""
    checkout = finished.copy_to(tmp_path_factory.mktemp("grown") / "checkout")
    checkout.change_params(add_two)
    root = checkout.root
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")  # what MLflow sets is taken back
        patch.delenv("MLFLOW_TRACKING_URI")
        validate.run(root, "bundled-calibration", "wcae_ft")
        shard.run(root, "bundled-calibration", "wcae_ft")
        for name in ("added", "wcae_ft"):
            train.run(root, name)
            calibrate.run(root, name)
            evaluate.run(root, name)
        choose.run(root)
        report.run(root)
        yield checkout


def test_a_new_variant_is_one_block_of_params(grown: Checkout) -> None:
    calibration = grown.read("models/added/calibration.json")
    assert calibration["lmbda"] is None
    assert 0 < calibration["bpp"] <= TARGET_BPP
    assert {row["phase"] for row in calibration["history"]} == {"trained", "gain_search", "final"}
    metrics = grown.read("evaluation/added/metrics.json")
    assert 0 < metrics["test_sets"]["bundled-test"]["at_target"]["bpp"] <= TARGET_BPP
    assert [point["setting"] for point in metrics["operating_points"]["bundled-test"]] == [
        "1-bit code, 24 channels",
        "2-bit code, 24 channels",
    ]
    assert "added" in {row["name"] for row in grown.read("leaderboard.json")["rows"]}
    page = (grown.root / "report" / "index.html").read_text()
    assert "Settings of added" in page
    assert "Where the bits went" in page


def test_a_fine_tuned_variant_goes_on_from_its_start(grown: Checkout) -> None:
    drawn = {node.name: node for node in stage_nodes(grown.root)}
    assert drawn["fine_tune@wcae_ft"].upstream == (
        "fetch@bundled-calibration",
        "shard_fine_tuned@wcae_ft",
        "train@wcae",
    )
    assert drawn["calibrate_fine_tuned@wcae_ft"].accelerator
    models = grown.root / "models"
    start, tuned = (models / name / "trained.safetensors" for name in ("wcae", "wcae_ft"))
    facts, begun = read_facts(tuned), read_facts(start)
    assert facts["start"] == {"variant": "wcae", "sha256": sha256_of(start), "lmbda": begun["lmbda"]}
    assert begun["start"] is None
    assert facts["data_sha256"] == sha256_of(grown.root / "data" / "shards" / "wcae_ft" / "index.json")
    first = json.loads((models / "wcae_ft" / "history.jsonl").read_text().splitlines()[0])
    assert first["lmbda"] == begun["lmbda"], "the lambda that its start ended at"
    before, after = load_file(start), load_file(tuned)
    learned = [key for key in before if key.endswith("weight")]
    assert learned
    assert max(float((after[key] - before[key]).abs().max()) for key in learned) < 1e-6
    calibration = grown.read("models/wcae_ft/calibration.json")
    assert (1 - TOLERANCE) * TARGET_BPP <= calibration["bpp"] <= TARGET_BPP
    assert "fine_tune" in {row["phase"] for row in calibration["history"]}
    assert "wcae_ft" in {row["name"] for row in grown.read("leaderboard.json")["rows"]}
    assert "wcae_ft" in (grown.root / "report" / "index.html").read_text()


def test_dvc_runs_what_is_new_and_what_its_start_changes(grown: Checkout, tmp_path: Path) -> None:
    """New variants leave the stages of others alone; a fine-tuned one follows its start, and not the other way."""
    checkout = grown.copy_to(tmp_path / "checkout")
    own = {f"{stage}@added" for stage in ("train", "calibrate", "evaluate")}
    tuned = ("validate_fine_tuned", "shard_fine_tuned", "fine_tune", "calibrate_fine_tuned", "evaluate_fine_tuned")
    assert set(would_run(checkout)) == own | {f"{stage}@wcae_ft" for stage in tuned} | {"choose", "report"}
    checkout.dvc("commit", "--force")
    assert would_run(checkout) == []

    text = (checkout.root / "params.yaml").read_text()
    (checkout.root / "params.yaml").write_text(text.replace("learning_rate: 1e-09", "learning_rate: 1e-06"))
    assert would_run(checkout) == ["fine_tune@wcae_ft", "calibrate_fine_tuned@wcae_ft", "choose"]

    (checkout.root / "params.yaml").write_text(text)
    before = read_facts(checkout.root / "models" / "wcae_ft" / "trained.safetensors")["training"]
    start = checkout.root / "models" / "wcae" / "trained.safetensors"
    start.write_bytes((checkout.root / "models" / "wcae" / "calibrated.safetensors").read_bytes())
    assert "fine_tune@wcae_ft" in would_run(checkout)
    train.run(checkout.root, "wcae_ft")
    after = read_facts(checkout.root / "models" / "wcae_ft" / "trained.safetensors")["training"]
    assert after != before, "a training is not gone on with from another start"
