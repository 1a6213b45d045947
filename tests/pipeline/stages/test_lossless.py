"""A small lossless codec of this test, trained, through the stages, beside lossless baselines and a lossy one."""

import re
import shutil
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from ruamel.yaml import YAML
from torch import Tensor, nn

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec, Scalar
from components.codecs.baselines.lossless import LOSSLESS, Lossless
from components.codecs.table import CODECS
from components.codecs.tensors import Reconstruction
from components.errors import BitstreamError, RatewrightError
from components.storage.atomic import read_json, write_json
from pipeline.cli.project import leaderboard
from pipeline.stages import calibrate, choose, evaluate, report, train
from tests.data_sets import write_data_set
from tests.small_profile import small_params

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # Warnings inside MLflow and what it imports are not ours to mend.
    pytest.mark.filterwarnings("ignore"),
]


class ZipRows(Codec):
    """Each row as zlib packs its residuals after a share of the left neighbour, in 64ths; the share is learned."""

    name = "zip_rows"
    rate_parameter: ClassVar[None] = None
    stride = latent_stride = 1
    paper_results = "9.99 bpp <on> its own pictures"

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Reconstruction:
        residual = 255 * (x[..., 1:] - self.share * x[..., :-1])
        return Reconstruction(x, (1 + residual.abs()).log2().mul(2).add(1).sum(dim=(1, 2, 3)))

    def distortion_and_rate(self, x: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor]:
        return x.new_zeros(()), reconstruction.bits.mean() / x[0, 0].numel()

    def objective(self, distortion: Scalar, rate: Scalar, lmbda: float) -> Scalar:  # noqa: ARG002
        return rate

    def analyse(self, x: Tensor) -> Tensor:
        return (255 * x).round()

    def encode(self, latents: Tensor, gain: float) -> tuple[bytes, ...]:  # noqa: ARG002
        samples = latents[0].numpy().astype(np.int64)
        samples[..., 1:] -= self._predicted(samples[..., :-1])
        return (zlib.compress((samples & 255).astype(np.uint8).tobytes(), 9),)

    def decode(self, sections: tuple[bytes, ...], height: int, width: int) -> Tensor:
        try:
            (packed,) = sections
            samples = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(3, height, width).astype(np.int64)
        except (ValueError, zlib.error) as error:
            raise BitstreamError(f"corrupted bitstream: {error}") from error
        for column in range(1, width):
            samples[..., column] = (samples[..., column] + self._predicted(samples[..., column - 1])) & 255
        return torch.from_numpy(samples)[None].float()

    def synthesise(self, y_hat: Tensor) -> Tensor:
        return y_hat / 255

    def kmac_per_px(self) -> tuple[float, float]:
        return 0.003, 0.003

    def _predicted(self, left: NDArray[np.int64]) -> NDArray[np.int64]:
        return left * round(64 * self.share.item()) >> 6


@pytest.fixture(scope="module")
def tree(
    photographs: list[Rgb], tiny_shards: Path, empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A checkout after train, calibrate, evaluate, choose and report."""
    root = tmp_path_factory.mktemp("lossless")
    shutil.copy(empty_database, root)
    document = small_params()
    training = {"steps": 30, "batch_size": 4, "learning_rate": 0.02, "validate_every": 10, "workers": 0}
    document["efforts"] = {}
    document["variants"] = {"zipped": {"codec": "zip_rows", "train": {**training, "precision": "32-true"}}}
    document["fine_tuned"], document["target_bpp"] = {}, 1.0
    document["baselines"] = ["png", "jpeg", "jpegls"]
    with (root / "params.yaml").open("w") as file:
        YAML().dump(document, file)
    shutil.copytree(tiny_shards, root / "data" / "shards" / "bundled-train")
    write_data_set(root / "data" / "raw" / "bundled-calibration", photographs[:2])
    write_data_set(root / "data" / "raw" / "bundled-test", photographs[2:4])
    module = ModuleType("components.codecs.variants.zip_rows")
    module.ZipRows = ZipRows  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CODECS, ZipRows.name, "ZipRows")
        patch.setitem(sys.modules, module.__name__, module)
        patch.setenv("MLFLOW_TRACKING_URI", "")  # what MLflow sets is taken back
        patch.delenv("MLFLOW_TRACKING_URI")
        train.run(root, "zipped")
        calibrate.run(root, "zipped")
        for name in ("zipped", "png", "jpeg", "jpegls"):
            evaluate.run(root, name)
        choose.run(root)
        report.run(root)
        yield root


def metrics_of(root: Path, name: str) -> dict[str, Any]:
    return dict(read_json(root / "evaluation" / name / "metrics.json"))


def test_the_hash_follows_a_fused_optimiser_that_counts_nothing() -> None:
    codec = ZipRows()
    before, x = codec.model_hash(), torch.rand(2, 3, 8, 8)
    optimizer = torch.optim.Adam(codec.train().parameters(), 0.01, fused=True)
    codec.loss(x, codec(x), 1.0).total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert codec.eval().model_hash() != before


def test_training_learns_and_is_not_steered(tree: Path) -> None:
    codec, facts = checkpoint.load(tree / "models" / "zipped" / "trained.safetensors", codec="zip_rows")
    assert isinstance(codec, ZipRows)
    assert not codec.has_lambda
    assert codec.share > 0.7
    assert facts["lmbda"] is None


def test_calibration_passes_the_codec_on_and_claims_no_target(tree: Path, photographs: list[Rgb]) -> None:
    folder = tree / "models" / "zipped"
    codec, facts = checkpoint.load(folder / "calibrated.safetensors", codec="zip_rows")
    trained, before = checkpoint.load(folder / "trained.safetensors")
    assert codec.model_hash() == trained.model_hash()
    found = read_json(folder / "calibration.json")
    sizes = [len(codec.pack(codec.latents(torch.from_numpy(rgb).permute(2, 0, 1)[None] / 255), rgb.shape[:2]))
             for rgb in photographs[:2]]  # fmt: skip
    assert found["bpp"] == 8 * sum(sizes) / sum(rgb[..., 0].size for rgb in photographs[:2])
    assert found["model_hash"] == codec.model_hash().hex()
    assert found["steps"] == 30
    nulls = ("target_bpp", "tolerance", "rate_parameter", "setting", "lmbda", "gain")
    assert {key: found[key] for key in nulls} == dict.fromkeys(nulls)
    assert facts == {**before, "target_bpp": None, "calibrated_bpp": found["bpp"]}


@pytest.mark.parametrize("name", ["zipped", "png", "jpegls"])
def test_an_evaluation_is_as_calibrated_alone(name: str, tree: Path) -> None:
    found = metrics_of(tree, name)
    assert found["kind"] == "lossless"
    points = found["test_sets"]["bundled-test"]
    assert points["at_target"] is None
    assert points["at_target_why"].startswith("lossless")
    point = points["as_calibrated"]
    assert point["images"] == 2
    assert point["bpp"] == 8 * point["bytes"] / point["pixels"]
    assert point["psnr_db"] is None
    assert "identical" in point["psnr_db_why"]
    rows = (tree / "evaluation" / name / "images.csv").read_text().splitlines()
    assert {row.split(",")[1] for row in rows[1:]} == {"as_calibrated"}
    assert sorted(row.split(",")[0] for row in rows[1:]) == ["bundled-calibration"] * 2 + ["bundled-test"] * 2
    assert list((tree / "evaluation" / name / "reconstructions").rglob("*.*")) == []


def test_costs_are_what_the_codec_says(tree: Path) -> None:
    ours, png = metrics_of(tree, "zipped"), metrics_of(tree, "png")
    assert (ours["parameters"], ours["encoder_kmac_per_px"], ours["decoder_kmac_per_px"]) == (1, 0.003, 0.003)
    assert png["parameters"] is None
    assert "zlib" in png["settings"]


def test_the_leaderboard_has_them_apart(tree: Path) -> None:
    board = read_json(tree / "leaderboard.json")
    assert [row["name"] for row in board["rows"]] == ["jpeg"]
    assert board["winner"] is None
    rows = {row["name"]: row for row in board["lossless"]}
    assert list(rows) == ["jpegls", "png", "zipped"]
    assert [row["bpp"] for row in rows.values()] == sorted(row["bpp"] for row in rows.values())
    assert rows["png"]["share_of_png"] == 1
    sizes = {name: metrics_of(tree, name)["test_sets"]["bundled-test"]["as_calibrated"]["bytes"] for name in rows}
    assert rows["jpegls"]["share_of_png"] == sizes["jpegls"] / sizes["png"] < 0.9
    assert rows["zipped"]["bits_per_sample"] == rows["zipped"]["bpp"] / 3


def test_the_report_has_a_section_of_them(tree: Path) -> None:
    page = (tree / "report" / "index.html").read_text()
    section = page[page.index("<h2>Lossless codecs</h2>") : page.index("<h2>Quality over rate</h2>")]
    assert re.findall(r'<th class="name" scope="row">(\w+)', section) == ["jpegls", "png", "zipped"]
    assert "<td>100.0%</td>" in section
    assert 'title="a classic codec has no network"' in section
    assert "9.99 bpp &lt;on&gt; its own pictures" in section
    assert "What the papers report</h2>" not in page, "the section says it"
    assert re.search(r"libpng [\d.]+</td>.*zlib level 9.*<td><span [^>]*lossless", page)
    assert {point["codec"] for point in read_json(tree / "report" / "rd.json")} == {"jpeg"}
    assert "<h2>Training</h2>" in page
    assert "<h2>The search for the target rate</h2>" not in page


def test_the_command_prints_them_apart(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "dvc.yaml").touch()  # what tells a checkout
    record = {"model": "image-codec-1bpp", "aliases": {}, "decision": "unchanged", "why": "no lossy codec"}
    write_json(tree / "registry.json", record | dict.fromkeys(("version", "challenger", "champion")))
    monkeypatch.chdir(tree)
    leaderboard()
    lossy, _, lossless = capsys.readouterr().out.partition("bundled-test, lossless")
    assert "jpeg " in lossy
    assert "zipped" not in lossy
    assert lossless.index("jpegls") < lossless.index("png") < lossless.index("zipped")
    assert "100.0%" in lossless


def test_what_comes_back_changed_is_one_line(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png = LOSSLESS["png"]
    blunt = Lossless(png.name, "", lambda rgb: png.encode(rgb & np.uint8(0xFE)), png.decoder, png.library)
    monkeypatch.setitem(LOSSLESS, "png", blunt)
    before = (tree / "evaluation" / "png" / "metrics.json").read_bytes()
    with pytest.raises(RatewrightError, match=r"evaluate png: not lossless: \d+ of the \d+ pixels of 0\.png came back"):
        evaluate.run(tree, "png")
    assert (tree / "evaluation" / "png" / "metrics.json").read_bytes() == before


def test_an_unknown_baseline_is_told_all_names(tree: Path) -> None:
    text = (tree / "params.yaml").read_text()
    (tree / "params.yaml").write_text(text.replace("- jpegls", "- jpegsl"))
    try:
        with pytest.raises(RatewrightError, match=r"unknown baseline 'jpegsl'; known: jpeg, .*jpegxl, png, jpegls, "):
            evaluate.run(tree, "jpegsl")
    finally:
        (tree / "params.yaml").write_text(text)
