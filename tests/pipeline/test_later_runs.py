"""What `dvc repro` runs after a change of params.yaml: what the change concerns, and what follows from that."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from components.codecs.checkpoint import read_facts
from components.storage.atomic import sha256_of
from pipeline.schedule.dvc_graph import stage_nodes
from tests.pipeline.conftest import TARGET_BPP, TOLERANCE, Checkout, stages_run
from tests.small_profile import small_params

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
        "start": "wcae",
        "data": "bundled-calibration",
        "codec": "wcae",
        "hyperparameters": wcae["hyperparameters"],
        "train": {**wcae["train"], "lmbda": None, "steps": 8, "validate_every": 4, "learning_rate": 1e-9},
        "calibrate": wcae["calibrate"],
    }


@pytest.fixture(scope="module")
def grown(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, str]:
    """The finished run with two variants more, committed, and what `dvc repro` said when they came."""
    checkout = finished.copy_to(tmp_path_factory.mktemp("grown") / "checkout")
    checkout.change_params(add_two)
    said = checkout.dvc("repro")
    checkout.run("git", "commit", "-q", "-a", "-m", "two variants more")
    return checkout, said


def test_new_variants_run_their_own_stages_and_what_follows(grown: tuple[Checkout, str]) -> None:
    checkout, said = grown
    own = {f"{stage}@added" for stage in ("train", "calibrate", "evaluate")}
    tuned = {"shard_fine_tuned", "fine_tune", "calibrate_fine_tuned", "evaluate_fine_tuned"}
    ran = stages_run(said)
    assert set(ran) == own | {f"{stage}@wcae_ft" for stage in tuned} | {"choose", "report", "register"}
    assert ran[-3:] == ["choose", "report", "register"]
    assert stages_run(checkout.dvc("repro", "--dry")) == ["register"]


def test_a_new_variant_is_one_block_of_params(grown: tuple[Checkout, str]) -> None:
    checkout, said = grown
    assert "train added: no weights of resnet101 are named: the encoder starts from scratch" in said
    calibration = checkout.read("models/added/calibration.json")
    assert calibration["lmbda"] is None
    assert 0 < calibration["bpp"] <= TARGET_BPP
    assert calibration["setting"] in said
    assert {row["phase"] for row in calibration["history"]} == {"trained", "gain_search", "final"}
    metrics = checkout.read("evaluation/added/metrics.json")
    assert 0 < metrics["test_sets"]["bundled-test"]["at_target"]["bpp"] <= TARGET_BPP
    assert [point["setting"] for point in metrics["operating_points"]["bundled-test"]] == [
        "1-bit code, 24 channels",
        "2-bit code, 24 channels",
    ]
    assert "added" in {row["name"] for row in checkout.read("leaderboard.json")["rows"]}
    page = (checkout.root / "report" / "index.html").read_text()
    assert "The settings of added" in page
    assert "Where the bits went" in page


def test_a_fine_tuned_variant_goes_on_from_its_start(grown: tuple[Checkout, str]) -> None:
    checkout, _ = grown
    drawn = {node.name: node for node in stage_nodes(checkout.root)}
    assert drawn["fine_tune@wcae_ft"].upstream == (
        "fetch@bundled-calibration",
        "shard_fine_tuned@wcae_ft",
        "train@wcae",
    )
    assert drawn["calibrate_fine_tuned@wcae_ft"].meta == {"accelerator": True}
    models = checkout.root / "models"
    start, tuned = (models / name / "trained.safetensors" for name in ("wcae", "wcae_ft"))
    facts, begun = read_facts(tuned), read_facts(start)
    assert facts["start"] == {"variant": "wcae", "sha256": sha256_of(start), "lmbda": begun["lmbda"]}
    assert begun["start"] is None
    assert facts["data_sha256"] == sha256_of(checkout.root / "data" / "shards" / "wcae_ft" / "index.json")
    first = json.loads((models / "wcae_ft" / "history.jsonl").read_text().splitlines()[0])
    assert first["lmbda"] == begun["lmbda"], "the lambda that its start ended at"
    before, after = load_file(start), load_file(tuned)
    learned = [key for key in before if key.endswith("weight")]
    assert learned
    assert max(float((after[key] - before[key]).abs().max()) for key in learned) < 1e-6
    calibration = checkout.read("models/wcae_ft/calibration.json")
    assert (1 - TOLERANCE) * TARGET_BPP <= calibration["bpp"] <= TARGET_BPP
    assert "fine_tune" in {row["phase"] for row in calibration["history"]}
    assert "wcae_ft" in {row["name"] for row in checkout.read("leaderboard.json")["rows"]}
    assert "wcae_ft" in (checkout.root / "report" / "index.html").read_text()


def test_a_fine_tuned_variant_follows_its_start_and_not_the_other_way(
    grown: tuple[Checkout, str], tmp_path: Path
) -> None:
    checkout = grown[0].copy_to(tmp_path / "checkout")
    text = (checkout.root / "params.yaml").read_text()
    (checkout.root / "params.yaml").write_text(text.replace("learning_rate: 1e-09", "learning_rate: 1e-06"))
    assert stages_run(checkout.dvc("repro", "--dry", "fine_tune@wcae_ft")) == ["fine_tune@wcae_ft"]
    (checkout.root / "params.yaml").write_text(text)

    tuned = checkout.root / "models" / "wcae_ft" / "trained.safetensors"
    before = read_facts(tuned)
    ran = stages_run(
        checkout.dvc("exp", "run", "-S", "variants.wcae.train.steps=8", "fine_tune@wcae_ft", "evaluate@wcae")
    )
    assert sorted(ran) == ["calibrate@wcae", "evaluate@wcae", "fine_tune@wcae_ft", "train@wcae"]
    assert ran.index("train@wcae") < ran.index("fine_tune@wcae_ft")
    assert read_facts(tuned)["training"] != before["training"], "a training is not gone on with from another start"
    history = (checkout.root / "models" / "wcae" / "history.jsonl").read_text().splitlines()
    assert json.loads(history[-1])["step"] == 8
    assert "wcae" in checkout.dvc("metrics", "diff")
    follows = stages_run(checkout.dvc("repro", "--dry"))
    assert follows == ["calibrate_fine_tuned@wcae_ft", "choose", "report", "register"]
