import dataclasses
from pathlib import Path
from typing import Any

import pytest

from components.errors import RatewrightError
from pipeline.reporting.archive import KeptRun, kept_runs
from pipeline.reporting.results_pages import page_text, section, summary

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def real() -> KeptRun:
    return KeptRun.read(ROOT / "results" / "real")


def rows(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if line[:1] == "|"]


def test_the_summary_has_the_classic_codecs_and_the_best_learned_ones(real: KeptRun) -> None:
    _, _, *lines = rows(summary(real))
    kinds = {row.name: row.kind for row in real.board.rows}
    shown = [line[0].strip("*") for line in lines]
    assert len(lines) <= 8
    assert [name for name in kinds if kinds[name] == "baseline"] == [n for n in shown if kinds[n] == "baseline"]
    assert [n for n in shown if kinds[n] == "learned"] == [n for n in kinds if kinds[n] == "learned"][:3]
    assert f"**{real.board.winner}**" in [line[0] for line in lines]


def test_the_section_has_every_codec_with_its_figures(real: KeptRun) -> None:
    heads, _, *lines = rows(section(real))
    assert len(lines) == len(real.board.rows)
    for line, row in zip(lines, real.board.rows, strict=True):
        assert len(line) == len(heads)
        assert line[0].strip("*") == row.name
        assert line[heads.index("PSNR, dB")] == f"{row.psnr_db:.2f}"
    assert not {"SSIMULACRA 2", "PSNR-HVS-M, dB"} & set(heads), "the run is older than these figures"
    for lossless in real.board.lossless:
        assert f"{lossless.name} {lossless.bpp:.2f}" in section(real)


def test_the_section_says_the_psnr_of_all_pixels_of_a_run_that_did_not_record_it(real: KeptRun) -> None:
    heads, _, *lines = rows(section(real))
    first, second = (place for place, head in enumerate(heads) if head == "PSNR of all pixels, dB")
    shown = {line[0].strip("*"): (line[first], line[second]) for line in lines}
    assert shown["webp"] == ("26.44", "33.66")  # as `awk` has them in docs/explanation/comparisons.md
    assert shown["jpeg2000"] == ("26.25", "32.66")


def test_the_section_has_the_perceptual_figures_of_a_run_that_has_them(real: KeptRun) -> None:
    def measured(row: Any) -> Any:
        return row.model_copy(update={"ssimulacra2": 12.34, "psnr_hvs_m_db": 27.891, "pooled_psnr_db": 26.543})

    calibration = real.board.calibration
    calibration = calibration.model_copy(update={"rows": tuple(map(measured, calibration.rows))})
    new = {"rows": tuple(map(measured, real.board.rows)), "calibration": calibration}
    heads, _, *lines = rows(section(dataclasses.replace(real, board=real.board.model_copy(update=new))))
    for head, figure in (("SSIMULACRA 2", "12.3"), ("PSNR-HVS-M, dB", "27.89"), ("PSNR of all pixels, dB", "26.54")):
        assert {line[place] for line in lines for place, each in enumerate(heads) if each == head} == {figure}
        assert heads.count(head) == 2


def test_a_page_gets_the_content_between_the_markers_and_keeps_the_rest(tmp_path: Path, real: KeptRun) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results/real -->\nold\n<!-- end of results/real -->\nafter\n")
    text = page_text(page, [real], lambda run: f"new {run.folder.name}\n")
    assert text == "before\n<!-- results/real -->\n\nnew real\n\n<!-- end of results/real -->\nafter\n"


def test_a_page_without_markers_is_refused(tmp_path: Path, real: KeptRun) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results/real -->\nno end\n")
    with pytest.raises(RatewrightError, match=r"page\.md has no place for results/real: .* and .*"):
        page_text(page, [real], summary)


def test_every_kept_run_is_found(tmp_path: Path) -> None:
    assert [run.folder.name for run in kept_runs(ROOT)] == ["flagship", "real"]
    assert kept_runs(tmp_path) == []


def test_readme_shows_the_flagship_alone(real: KeptRun) -> None:
    text = (ROOT / "README.md").read_text()
    assert "<!-- results/flagship -->" in text
    assert "<!-- results/real -->" not in text
    flagship = KeptRun.read(ROOT / "results" / "flagship")
    assert summary(flagship) in text
    assert "\\* interpolated to the rate" in summary(flagship)
    assert "\\*" not in summary(real), "made before interpolation"
