"""A codec that nobody trained, and JPEG, through `evaluate` and `choose`."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.families.transform import TransformCodec
from components.evaluation.ceiling import ceiling_db
from components.storage.atomic import read_json
from pipeline.documents.evaluation import Ceiling
from pipeline.documents.images import read_images
from pipeline.stages import choose, evaluate
from pipeline.stages._measurement import NO_CEILING, mean_ceiling
from tests.data_sets import write_data_set
from tests.small_profile import small_params

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Warnings inside MLflow and what it imports are not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def tree(
    photographs: list[Rgb],
    make_codec: Callable[..., Codec],
    empty_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Path]:
    """A checkout after evaluate and choose."""
    root = tmp_path_factory.mktemp("evaluated")
    shutil.copy(empty_database, root)
    document = small_params()
    document["variants"] = {"plain": {**document["variants"]["haar_hyper"], "codec": "haar_hyper"}}
    document["efforts"] = {"plain": [2, 0, 2]}
    document["fine_tuned"], document["target_bpp"], document["baselines"] = {}, 1.0, ["jpeg"]
    with (root / "params.yaml").open("w") as file:
        YAML().dump(document, file)
    write_data_set(root / "data" / "raw" / "bundled-calibration", photographs[:1])
    write_data_set(root / "data" / "raw" / "bundled-test", photographs[2:5])
    path = root / "models" / "plain" / "calibrated.safetensors"
    path.parent.mkdir(parents=True)
    checkpoint.save(make_codec("haar_hyper"), path, lmbda=0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")  # what MLflow sets is taken back
        patch.delenv("MLFLOW_TRACKING_URI")
        for name in ("plain", "jpeg"):
            evaluate.run(root, name)
        choose.run(root)
        yield root


def metrics_of(root: Path, name: str) -> dict[str, Any]:
    return dict(read_json(root / "evaluation" / name / "metrics.json"))


def test_the_ceiling_is_measured_for_each_picture(tree: Path, photographs: list[Rgb]) -> None:
    codec, _ = checkpoint.load(tree / "models" / "plain" / "calibrated.safetensors")
    assert isinstance(codec, TransformCodec)
    rows = [row for row in read_images(tree / "evaluation" / "plain" / "images.csv") if row.test_set == "bundled-test"]
    expected = [ceiling_db(codec, rgb) for rgb in photographs[2:5]]
    assert [row.ceiling_db for row in rows if row.point == "as_calibrated"] == expected
    assert [row.ceiling_db for row in rows if row.point == "at_target"] == expected
    found = metrics_of(tree, "plain")["test_sets"]["bundled-test"]
    assert found["ceiling_db"] == pytest.approx(sum(filter(None, expected)) / 3)
    assert found["at_target"]["psnr_db"] < found["ceiling_db"]


def test_the_leaderboard_has_the_ceiling_on_both_sets(tree: Path) -> None:
    board, sets = read_json(tree / "leaderboard.json"), metrics_of(tree, "plain")["test_sets"]
    for rows, name in ((board["rows"], "bundled-test"), (board["calibration"]["rows"], "bundled-calibration")):
        ceilings = {row["name"]: row["ceiling_db"] for row in rows}
        assert ceilings == {"plain": sets[name]["ceiling_db"], "jpeg": None}
        (jpeg,) = (row for row in rows if row["name"] == "jpeg")
        assert jpeg["ceiling_db_why"] == NO_CEILING


def test_a_picture_that_comes_back_whole_leaves_no_mean() -> None:
    assert mean_ceiling({"a.png": 30.0, "b.png": 40.0}) == Ceiling(ceiling_db=35.0)
    assert mean_ceiling({"a.png": 30.0, "b.png": None}).ceiling_db_why == "b.png: infinite: no pixel changes"


def test_efforts_are_rows_of_their_own(tree: Path) -> None:
    metrics = metrics_of(tree, "plain")
    assert metrics["efforts"].keys() == metrics["test_sets"].keys()
    for name, points in metrics["efforts"].items():
        assert [point["effort"] for point in points] == [0, 2]
        default = metrics["test_sets"][name]["at_target"]
        for point in points:
            assert 0.98 <= point["bpp"] <= 1.0
            assert point["images"] == default["images"]
            assert point["gain"] > 0
        assert points[1]["encode_s_per_mpx"] > 2 * points[0]["encode_s_per_mpx"]
    assert "efforts" not in metrics_of(tree, "jpeg")
