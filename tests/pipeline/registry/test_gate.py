"""The gate measures each version with the code that it carries; what it keeps of that, shadow, regression pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.data.image_files import encode_png
from components.metrics.quality import psnr_db
from components.rate.gain_search import gain_for_target
from components.storage.atomic import read_json
from pipeline.registry import regression_pictures
from pipeline.registry.client import client, experiment_id, uri
from tests.data_sets import write_data_set
from tests.pipeline.registry.checkout import MODEL, RULES, TARGET, Checkout, Json

# MLflow and its dependencies warn; that is not for this project to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
REGISTER = "import pathlib, sys; from pipeline.stages import register; register.run(pathlib.Path(sys.argv[1]))"


@pytest.fixture(scope="module")
def said(
    make_codec: Callable[..., Codec],
    photographs: list[Rgb],
    empty_database: Path,
    run_other_code: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Json:
    """registry.json where the champion carries other code, and the test set has changed since it was registered."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"), empty_database)
    checkout.win(make_codec("wcae", seed=0), 30.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri(checkout.root))
        run_other_code(REGISTER, str(checkout.root))
        write_data_set(checkout.root / "data" / "raw" / "bundled-test", photographs[:4])
        checkout.win(make_codec("wcae", seed=1), 20.0, test_set="2" * 64)
        return checkout.register()


def test_the_champion_is_measured_by_its_own_code(
    said: Json, photographs: list[Rgb], make_codec: Callable[..., Codec]
) -> None:
    codec = make_codec("wcae", seed=0)
    coder = LearnedCoder(codec, gain_for_target(codec, photographs[:4], TARGET, 0.03))
    files = [coder.encode(rgb) for rgb in photographs[:4]]
    decoded = [255 - coder.decode(file) for file in files]
    figures = [psnr_db(rgb, other) or 0.0 for rgb, other in zip(photographs, decoded, strict=False)]
    pixels = sum(rgb[..., 0].size for rgb in photographs[:4])
    assert said["champion"]["version"] == "1"
    assert said["champion"]["psnr_db"] == pytest.approx(sum(figures) / 4)
    assert said["champion"]["bpp"] == pytest.approx(8 * sum(map(len, files)) / pixels)


IMPOSSIBLE = {"figure": "psnr_db", "over": "worst", "above": 100.0}


@pytest.fixture(scope="module")
def challenged(
    make_codec: Callable[..., Codec],
    photographs: list[Rgb],
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Checkout:
    """A champion, and as the winner another codec, on two pictures of test."""
    checkout = Checkout(tmp_path_factory.mktemp("challenged"), empty_database)
    write_data_set(checkout.root / "data" / "raw" / "bundled-test", photographs[:2])
    checkout.win(make_codec("wcae", seed=0), 30.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{checkout.root}/mlflow.db")
        checkout.register()
    checkout.win(make_codec("wcae", seed=1), 30.0)
    return checkout


@pytest.fixture
def checkout(challenged: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A copy of it, whose registry goes its own way."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/checkout/mlflow.db")
    return challenged.copy_to(tmp_path / "checkout")


def artifacts_of_last_gate(checkout: Checkout, folder: Path) -> Path:
    """The files that MLflow has of the newest comparison."""
    found = client(checkout.root)
    runs = found.search_runs([experiment_id(found)], order_by=["attributes.start_time DESC"])
    run = next(run for run in runs if run.info.run_name.startswith(f"gate {MODEL} version "))
    assert run.info.status == "FINISHED"
    return Path(found.download_artifacts(run.info.run_id, "", str(folder)))


@pytest.mark.parametrize("pictures", ["test", "regression"])
def test_the_picture_that_broke_a_rule_is_kept(
    pictures: str, checkout: Checkout, photographs: list[Rgb], tmp_path: Path
) -> None:
    rules = {"worst": {**IMPOSSIBLE, "pictures": pictures}, "quality": None, "rate": None, "regression": None}
    checkout.change_registry(rules=rules)
    for place, rgb in enumerate(photographs[2:4]):
        (tmp_path / f"{place}.png").write_bytes(encode_png(rgb))
        regression_pictures.add(checkout.root, MODEL, tmp_path / f"{place}.png", "the sky had blocks")
    said = checkout.register()
    assert said["decision"] == "kept champion"
    broken = next(rule for rule in said["rules"] if rule["rule"] == "worst")
    assert broken["picture"] in ("0.png", "1.png")
    kept = artifacts_of_last_gate(checkout, tmp_path)
    original = photographs[int(broken["picture"][0]) + (2 if pictures == "regression" else 0)]
    shown = np.asarray(Image.open(kept / "worst" / "original_champion_challenger.png"))
    assert shown.shape == (original.shape[0], 3 * original.shape[1], 3)
    assert np.array_equal(shown[:, : original.shape[1]], original)
    record = read_json(kept / "gate.json")
    assert record["rules"] == said["rules"]
    assert [row["image"] for row in record["champion"][pictures]] == ["0.png", "1.png"]


def test_a_challenger_in_shadow_passes_several_runs_first(checkout: Checkout) -> None:
    lenient = {"quality": {"above": -100.0}, "rate": None}
    checkout.change_registry(shadow_runs=2, rules={**RULES, **lenient})
    said = [checkout.register() for _ in range(4)]
    assert [one["decision"] for one in said] == ["in shadow", "in shadow", "promoted", "promoted"]
    assert said[0]["why"].startswith("it passed the gate in run 1 of 3: quality: ")
    assert said[1]["why"].startswith("it passed the gate in run 2 of 3: ")
    assert [one["aliases"]["champion"] for one in said] == ["1", "1", "2", "2"]


def test_both_compute_with_the_threads_of_params(checkout: Checkout) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        checkout.register()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_failed_run_ends_the_shadow(checkout: Checkout) -> None:
    checkout.change_registry(shadow_runs=2, rules={**RULES, "quality": {"above": -100.0}, "rate": None})
    assert checkout.register()["decision"] == "in shadow"
    checkout.change_registry(rules={**RULES, "quality": {"above": 100.0}, "rate": None})
    assert [checkout.register()["decision"] for _ in range(2)] == ["kept champion", "kept champion"]


def test_other_rules_and_pictures_make_a_new_decision(checkout: Checkout, photographs: list[Rgb]) -> None:
    checkout.change_registry(rules={**RULES, "quality": {"above": 100.0}, "rate": None})
    assert [checkout.register()["decision"] for _ in range(2)] == ["kept champion", "kept champion"]
    lenient = {**RULES, "quality": {"above": -100.0}, "rate": None}
    checkout.change_registry(rules={**lenient, "regression": {**IMPOSSIBLE, "pictures": "regression"}}, shadow_runs=0)
    picture = checkout.root / "kept.png"
    picture.write_bytes(encode_png(photographs[3]))
    regression_pictures.add(checkout.root, MODEL, picture, "why")
    said = checkout.register()
    assert (said["decision"], said["why"][:12]) == ("kept champion", "regression: ")
    regression_pictures.remove(checkout.root, MODEL, "kept.png")
    assert checkout.register()["decision"] == "promoted"
