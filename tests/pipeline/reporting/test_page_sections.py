"""The sections of the report below the leaderboard."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.stages import report
from tests.pipeline.reporting.written_run import (
    COLUMNS,
    KINDS,
    changed,
    section_of,
)


def measure_pictures(root: Path, differences: dict[str, list[float]]) -> None:
    """Give each codec as many pictures as differences: PSNR and SSIMULACRA 2 that much off those of `swift`."""
    for name, offsets in {"swift": [0.0] * max(map(len, differences.values())), **differences}.items():
        with (root / "evaluation" / name / "images.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, "ssimulacra2"])
            for number, offset in enumerate(offsets):
                figures = [30 + number + offset, "", "", "", 0.5, 0.5, 50 - number + offset]
                writer.writerow(["kodak", "at_target", f"{number}.png", 451, 300, 9, 0.15, *figures])
        with changed(root / "evaluation" / name / "metrics.json") as metrics:
            metrics["test_sets"]["kodak"]["as_calibrated"]["images"] = len(offsets)


@pytest.fixture(scope="module")
def compared(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run of twelve pictures, in which one codec has a ceiling."""
    root = shutil.copytree(whole, tmp_path_factory.mktemp("compared") / "tree")
    measure_pictures(root, {"jpeg": [-1.0] * 12, "plain": [2.0, -2.0] * 6})
    for name in KINDS:
        with changed(root / "evaluation" / name / "metrics.json") as metrics:
            ceiling = {"ceiling_db": 32.01} if name == "swift" else {"ceiling_db": None, "ceiling_db_why": "none"}
            metrics["test_sets"]["kodak"].update(ceiling)
    report.run(root)
    return (root / "report" / "index.html").read_text()


def figures_of(row: str) -> list[tuple[str, bool]]:
    """Text of each figure of a row of differences, and whether it is grey."""
    return [(text, "soft" in classes) for classes, text in re.findall(r'<td class="([^"]*)">(.*?)</td>', row)]


def test_ceilings_stand_beside_the_psnr_at_the_target(reported: Path, compared: str) -> None:
    section = section_of(compared, "Ceilings")
    assert re.findall(r'scope="row">(\w+)', section) == ["swift"]
    assert re.search(r">29\.00</td><td>32\.01</td><td>50%</td>", section)
    assert "<h2>Ceilings</h2>" not in (reported / "report" / "index.html").read_text(), "a run from before"


def test_differences_from_the_winner_have_intervals(compared: str) -> None:
    section = section_of(compared, "Differences from the winner")
    assert "Each codec less swift" in section
    assert "kodak, 12 pictures<" in section
    jpeg, plain = section.partition('scope="row">jpeg')[2].split('scope="row">plain')
    assert figures_of(jpeg) == [(text, False) for text in ("-1.00", "-1.00 to -1.00", "-1.0", "-1.0 to -1.0")]
    assert [grey for _, grey in figures_of(plain)] == [True] * 4, "zero lies in the interval"
    mean, interval = (text for text, _ in figures_of(plain)[:2])
    assert mean == "+0.00"
    low, high = map(float, interval.split(" to "))
    assert -2 < low < -0.5
    assert 0.5 < high < 2


def test_one_picture_is_called_too_few(reported: Path) -> None:
    section = section_of((reported / "report" / "index.html").read_text(), "Differences from the winner")
    assert "kodak, 1 picture: too few<" in section
    assert section.count('title="one picture has no interval"') == 2
    assert section.count('title="not measured"') == 2, "SSIMULACRA 2 is younger than these rows"


def test_what_has_other_pictures_than_the_winner_is_left_out_with_a_line(rich: Path) -> None:
    section = section_of((rich / "index.html").read_text(), "Differences from the winner")
    assert re.findall(r'scope="row">(\w+)', section) == ["plain"]
    assert "because their pictures are not the winner's: jpeg on kodak." in section


def test_no_lossless_codec_or_winner_no_section(tree: Path) -> None:
    with changed(tree / "leaderboard.json") as board:
        del board["lossless"]
        board["winner"] = None
    report.run(tree)
    page = (tree / "report" / "index.html").read_text()
    assert "Lossless" not in page
    assert "packed" not in page
    assert "Differences from the winner" not in page


def test_one_file_at_any_rate(rich: Path) -> None:
    page = (rich / "index.html").read_text()
    assert "One file, any rate" in page
    assert "PSNR of cat.png over the bytes" in page
    assert "worse picture than the smaller size before: swift 0, jpeg 2" in page
    assert "swift: cat.png" in page
    order = [page.index(f'<b class="learned">{size} bytes') for size in ("200", "1,000", "5,000")]
    assert order == sorted(order)
    with Image.open(rich / "prefixes.png") as plot:
        assert plot.width > 1000


def test_maps_lie_over_the_picture(rich: Path) -> None:
    page = (rich / "index.html").read_text()
    assert "Where the bits went" in page
    assert "Maps of learned codecs over cat.png" in page
    panels = [page.index(f">{said}<") for said in ("importance, 0 to 1", "bits, 0 to 0.99 bpp")]
    assert panels == sorted(panels)
    assert page.count(">bits, 0 to 0.99 bpp<") == 2
    with Image.open(rich / "maps.png") as plot:
        assert plot.width > 1000


def test_settings_and_what_a_paper_reports(rich: Path) -> None:
    page = (rich / "index.html").read_text()
    assert "Settings of plain" in page
    assert "deployed with 2 bits, 7 channels" in page
    assert re.search(r"8 bits, 9 channels</th><td>0\.4000</td><td>22\.00</td>", page)
    assert "What the papers report" in page
    assert "31 dB &lt;at&gt; any rate" in page


def test_efforts_with_the_default_between_them(rich: Path) -> None:
    page = (rich / "index.html").read_text()
    section = page[page.index("Efforts of plain") :]
    assert re.findall(r'row">kodak</th><td>(\d)</td>', section) == ["0", "1", "5"]
    assert "<td>5</td><td>0.1500</td><td>23.40</td>" in section


def test_what_no_codec_has_gets_no_section(reported: Path) -> None:
    page = (reported / "report" / "index.html").read_text()
    for title in ("One file, any rate", "Where the bits went", "Settings of", "Efforts of", "What the papers report"):
        assert title not in page
    assert not (reported / "report" / "prefixes.png").exists()
