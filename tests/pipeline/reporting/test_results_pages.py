from pathlib import Path

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
    for lossless in real.board.lossless:
        assert f"{lossless.name} {lossless.bpp:.2f}" in section(real)


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
    assert [run.folder.name for run in kept_runs(ROOT)] == ["real"]
    assert kept_runs(tmp_path) == []
