import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.data import image_files
from pipeline.documents import Evaluation, read
from pipeline.paths import Layout
from pipeline.registry.client import client
from pipeline.stages import _data_set, evaluate
from pipeline.stages._data_set import Pictures
from tests.data_sets import write_data_set
from tests.small_profile import small_params

COUNT = 12


class Alive:
    """Counts the pictures that are decoded, and the largest number of them in memory at a time."""

    def __init__(self) -> None:
        self.decoded = self.most = 0
        self._alive: weakref.WeakValueDictionary[int, Rgb] = weakref.WeakValueDictionary()
        self._decode = image_files.decode_rgb

    def __call__(self, data: bytes, **others: Any) -> Rgb:
        rgb = self._decode(data, **others)
        self._alive[self.decoded] = rgb
        self.decoded += 1
        self.most = max(self.most, len(self._alive))
        return rgb


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Alive:
    counter = Alive()
    monkeypatch.setattr(image_files, "decode_rgb", counter)
    return counter


@pytest.fixture
def folder(photographs: list[Rgb], tmp_path: Path) -> Path:
    """A data set of 12 pictures."""
    rgbs = [photographs[number % len(photographs)][:64, : 48 + number] for number in range(COUNT)]
    write_data_set(tmp_path / "set", rgbs)
    return tmp_path / "set"


def test_pictures_are_decoded_when_they_are_asked_for(
    folder: Path, alive: Alive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_data_set, "KEPT_BYTES", 0)
    found = Pictures(folder)
    assert alive.decoded == 0
    assert [name for name, _ in found] == found.names
    assert [rgb.shape[1] for rgb in found.rgbs] == [48 + number for number in range(COUNT)]
    assert (alive.decoded, len(found)) == (2 * COUNT, COUNT)
    assert alive.most <= 2
    assert [rgb.shape[1] for rgb in found.rgbs[1:3]] == [49, 50]
    assert len(Pictures(folder, limit=3)) == 3
    with pytest.raises(IndexError):
        found[COUNT]


def test_pictures_are_kept_as_far_as_the_bound_goes(
    folder: Path, alive: Alive, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [rgb.nbytes for rgb in Pictures(folder).rgbs][:5]
    monkeypatch.setattr(_data_set, "KEPT_BYTES", sum(first))
    found, alive.decoded = Pictures(folder), 0
    for _ in range(3):
        assert len(list(found)) == COUNT
    assert alive.decoded == 5 + 3 * (COUNT - 5)
    assert found.largest().shape[1] == 48 + COUNT - 1
    assert alive.decoded == 5 + 3 * (COUNT - 5) + 1, "the manifest says which is the largest"
    assert np.array_equal(found[-1][1], found.rgbs[COUNT - 1])


@pytest.mark.filterwarnings("ignore")  # of MLflow and its dependencies
@pytest.mark.usefixtures("one_thread", "own_mlflow")
@pytest.mark.parametrize("name", ["jpeg", "nowcae"])
def test_evaluate_holds_few_pictures_of_a_set_of_many(
    name: str,
    photographs: list[Rgb],
    make_codec: Callable[..., Codec],
    alive: Alive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = small_params()
    document["variants"], document["efforts"] = {"nowcae": document["variants"]["nowcae"]}, {}
    document["fine_tuned"], document["baselines"], document["target_bpp"] = {}, ["jpeg"], 1.5
    document["variants"]["nowcae"]["calibrate"]["tolerance"] = 0.5
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(document, file)
    layout = Layout(tmp_path)
    for data in ("bundled-calibration", "bundled-test"):
        rgbs = [photographs[number % len(photographs)][:176, :176] for number in range(COUNT)]
        write_data_set(layout.raw(data), rgbs)
    layout.calibrated("nowcae").parent.mkdir(parents=True)
    checkpoint.save(make_codec("nowcae"), layout.calibrated("nowcae"), lmbda=0.01, step=1)
    monkeypatch.setattr(_data_set, "KEPT_BYTES", 0)
    evaluate.run(tmp_path, name)
    assert layout.metrics(name).is_file()
    (run,) = client(tmp_path).search_runs(["1"])
    assert (run.info.run_name, run.info.status) == (f"evaluate {name}", "FINISHED")
    psnr_db = read(Evaluation, layout.metrics(name)).test_sets["bundled-test"].as_calibrated.psnr_db
    assert run.data.metrics["bundled-test/as_calibrated/psnr_db"] == psnr_db
    assert run.inputs is not None
    inputs = {each.dataset.name: each.tags[0].value for each in run.inputs.dataset_inputs}
    assert inputs == {"bundled-test": "test", "bundled-calibration": "calibration"}
    assert alive.decoded > 4 * COUNT
    assert alive.most <= 5, "two threads of the search, and the pictures before"
