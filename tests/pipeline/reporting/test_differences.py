import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import RatewrightError
from pipeline.documents import Evaluation, read_by_name
from pipeline.documents.images import ImageRow, Label, read_kept_images, write_images
from pipeline.reporting.differences import REPORTED, differences, from_winner, rows_of

ROOT = Path(__file__).parents[3]


def row(image: str, psnr_db: float | None, test_set: str = "kodak", point: Label = "at_target") -> ImageRow:
    return ImageRow(
        test_set=test_set,
        point=point,
        image=image,
        width=2,
        height=2,
        bytes=1,
        bpp=2.0,
        psnr_db=psnr_db,
        ssim=0.5,
        ms_ssim=0.5,
        swd=1.0,
        encode_s=1.0,
        decode_s=1.0,
    )


def test_figures_are_paired_by_set_and_picture_at_the_target_rate() -> None:
    ours = [row("b", 31.0), row("a", 30.0), row("a", 40.0, "clic"), row("a", 99.0, point="as_calibrated")]
    others = [row("a", 29.0), row("b", 32.0), row("a", 38.0, "clic"), row("c", 1.0)]
    found = differences(ours, others)
    assert found.keys() == {"kodak", "clic"}
    assert (found["kodak"]["psnr_db"].mean, found["kodak"]["psnr_db"].pictures) == (0.0, 2)
    assert found["clic"]["psnr_db"] == (2.0, None, None, 1)
    assert "ssimulacra2" not in found["kodak"], "neither has it"


def test_a_picture_without_the_figure_is_left_out_of_it_alone() -> None:
    found = differences([row("a", None), row("b", 31.0)], [row("a", 29.0), row("b", 30.0)])
    assert (found["kodak"]["psnr_db"].pictures, found["kodak"]["ssim"].pictures) == (1, 2)


def test_codecs_without_a_common_picture_are_an_error() -> None:
    with pytest.raises(RatewrightError, match="no picture in common"):
        differences([row("a", 1.0)], [row("b", 1.0)])


def test_the_mean_of_a_kept_run_is_that_of_its_leaderboard() -> None:
    """28.28 and 27.78 dB on Kodak, as docs/results.md prints them."""
    found = differences(rows_of(ROOT, "avif", "real"), rows_of(ROOT, "haar_hyper_long", "real"))
    assert found["kodak"]["psnr_db"].mean == pytest.approx(28.28 - 27.78, abs=0.01)


def test_every_lossy_codec_is_compared_with_the_winner_on_the_pictures_of_both(tmp_path: Path) -> None:
    kept = ROOT / "results" / "real"
    known, images = read_by_name(Evaluation, kept / "evaluations.json"), read_kept_images(kept / "images.csv")
    evaluations = {name: known[name] for name in ("avif", "haar_hyper_long", "jpeg", "png")}
    for name in evaluations:
        write_images(images[name], tmp_path / "evaluation" / name / "images.csv")
    pinned = {**evaluations["jpeg"].test_set_sha256, "kodak": "another"}
    evaluations["jpeg"] = evaluations["jpeg"].model_copy(update={"test_set_sha256": pinned})

    found = from_winner(tmp_path, "haar_hyper_long", evaluations)
    assert found.pictures == {"kodak": 24, "clic2025-validation": 14}
    assert list(found.codecs) == ["avif", "jpeg"]
    expected = differences(images["avif"], images["haar_hyper_long"])
    for test_set, figures in expected.items():
        assert found.codecs["avif"][test_set] == {name: figures[name] for name in REPORTED if name in figures}
    assert found.codecs["jpeg"].keys() == {"clic2025-validation"}
    assert found.on_other_pictures == [("jpeg", "kodak")]

    png = from_winner(tmp_path, "haar_hyper_long", {name: evaluations[name] for name in ("haar_hyper_long", "png")})
    assert png.codecs == {}


def test_rows_are_those_of_the_last_run_or_of_a_kept_one(tmp_path: Path) -> None:
    write_images([row("a", 30.0)], tmp_path / "evaluation" / "ours" / "images.csv")
    assert rows_of(tmp_path, "ours", None) == [row("a", 30.0)]
    with pytest.raises(RatewrightError, match="missing"):
        rows_of(tmp_path, "other", None)
    with pytest.raises(RatewrightError, match=r"has no nix; it has .*avif"):
        rows_of(ROOT, "nix", "real")


def test_the_command_prints_differences_and_intervals() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "compare", "avif", "haar_hyper_long", "--kept", "real"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kodak = printed[printed.index("avif less haar_hyper_long, kodak") :]
    (line,) = [line for line in kodak.splitlines() if "PSNR, dB" in line]
    assert "+0.493" in line
    assert "+0.39 to +0.602" in line
    assert "24" in line
