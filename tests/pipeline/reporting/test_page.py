"""The report of a run: its leaderboard, the files beside it, and what is missing."""

import re
from pathlib import Path

import pytest

from components.errors import RatewrightError
from components.storage.atomic import read_json, write_json
from pipeline.stages import report
from tests.pipeline.reporting.written_run import KINDS, point, section_of

ROOT = Path(__file__).parents[3]


def test_the_page_shows_the_leaderboard_and_needs_nothing_else(reported: Path) -> None:
    page = (reported / "report" / "index.html").read_text()

    assert re.findall(r'<td class="place">\d</td><th class="name" scope="row">(\w+)', page) == list(KINDS)[:-1]
    assert "swift wins at 0.15 bpp" in page
    assert page.count(">winner<") == 1
    assert "2 dB above &lt;jpeg&gt;" in page
    assert "<td>-12.3</td>" in page
    assert re.search(r"packed</th>\s+<td>9\.0000</td>\s+<td>3\.0000</td>\s+<td><[^>]*png is not here", page)
    assert 'title="no network &lt;here&gt;" aria-label="none: no network &lt;here&gt;">&ndash;<' in page
    assert "0.143 bpp · 29.07 dB" in page
    assert len(re.findall(r"<td>123\.4</td>", page)) == sum(kind != "lossless" for kind in KINDS.values())
    assert "optimised</td><td>7</td>" in page
    assert "github.com/InterDigitalInc/CompressAI" in page  # the published curves name their source

    references = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)', page)
    assert references
    assert {re.split("[:#]", src or url)[0] for src, url in references} == {"data", ""}
    assert "<script src" not in page
    assert "@import" not in page
    assert page.count('class="detail"') == 4  # the original and three lossy codecs


def test_two_pictures_of_a_comparison_can_lie_under_a_slider(reported: Path) -> None:
    page, _, rest = (reported / "report" / "index.html").read_text().partition("<script>")
    sliders = re.findall(r"<picture-slider [^>]*>(.*?)</picture-slider>", page, re.DOTALL)
    assert [re.findall(r'<figure data-name="([^"]*)"><img class="detail"', slider) for slider in sliders] == [
        ["Original", "swift", "jpeg", "plain"]
    ]
    assert all("sliding" not in tag for tag in re.findall(r"<picture-slider [^>]*>", page)), "side by side at first"
    assert (ROOT / "pipeline" / "reporting" / "picture_slider.js").read_text() in rest.partition("</script>")[0]
    assert "fieldset:has(picture-slider:defined) label.scripted { display: inline }" in page, (
        "no radio without a script"
    )


def test_the_leaderboard_has_both_psnrs_and_what_people_see(reported: Path, tree: Path) -> None:
    older = (reported / "report" / "index.html").read_text()
    assert 'title="not measured"' in older, "a run from before these figures shows dashes"
    board = read_json(tree / "leaderboard.json")
    board["rows"][0] |= {"pooled_psnr_db": 27.654, "ssimulacra2": 43.21, "psnr_hvs_m_db": 31.987}
    board["rows"][1] |= {"ssimulacra2": None, "ssimulacra2_why": "cat.png: too small"}
    write_json(tree / "leaderboard.json", board)
    report.run(tree)
    page = (tree / "report" / "index.html").read_text()
    assert re.search(r"<td>29\.00</td>\s+<td>27\.65</td>", page)
    assert re.search(r"<td>43\.2</td>\s+<td>31\.99</td>", page)
    assert 'title="cat.png: too small"' in page


def test_interpolated_rows_are_starred_with_their_real_points(reported: Path, tree: Path) -> None:
    assert "interpolated between" not in (reported / "report" / "index.html").read_text(), "a run from before"
    around = [
        {"setting": f"quality {quality}", **point(bpp, psnr_db)}
        for quality, bpp, psnr_db in ((31, 0.141, 26.8), (32, 0.153, 27.3))
    ]
    board = read_json(tree / "leaderboard.json")
    board["rows"][1] |= {"around_target": around}
    board["rows"][2] |= {"around_target": None, "around_target_why": "quality 9 is the highest"}
    write_json(tree / "leaderboard.json", board)
    report.run(tree)
    section = section_of((tree / "report" / "index.html").read_text(), "Leaderboard")
    starred = re.findall(r'<th class="name" scope="row">(\w+) <span [^>]*>\*</span>', section)
    assert starred == ["jpeg", "plain"]
    assert (
        "* jpeg: interpolated between quality 31 (0.1410 bpp, 26.80 dB) and quality 32 (0.1530 bpp, 27.30 dB).</p>"
    ) in section
    assert "* plain: not interpolated: quality 9 is the highest.</p>" in section


def test_files_beside_the_page(reported: Path, tree: Path) -> None:
    folder = reported / "report"
    points = read_json(folder / "rd.json")
    assert points[1] == {
        "codec": "swift", "test_set": "kodak", "point": "at_target", "bpp": 0.149,
        "psnr_db": 29.0, "ms_ssim": 0.95,
    }  # fmt: skip
    assert "packed" not in {point["codec"] for point in points}, "what loses nothing has no place in that plane"
    labels = [point["point"] for point in points]
    assert [labels.count(label) for label in ("as_calibrated", "at_target", "curve")] == [3, 3, 9]
    plots = sorted(path.name for path in folder.glob("*.png"))
    assert plots == ["lambda_search.png", "rd_ms_ssim.png", "rd_psnr.png", "training.png"]
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    report.run(tree)
    assert {path.name: path.read_bytes() for path in (tree / "report").iterdir()} == first


@pytest.mark.parametrize(
    "missing",
    [
        "leaderboard.json",
        "evaluation/jpeg/metrics.json",
        "evaluation/jpeg/images.csv",
        "models/plain/calibration.json",
        "models/plain/history.jsonl",
        "data/raw/kodak/cat.png",
    ],
)
def test_a_missing_input_is_one_line(tree: Path, missing: str) -> None:
    (tree / missing).unlink()
    with pytest.raises(RatewrightError, match=re.escape(missing)) as raised:
        report.run(tree)
    assert "\n" not in str(raised.value)
    assert not (tree / "report").exists()


def test_a_broken_input_names_its_file(tree: Path) -> None:
    (tree / "leaderboard.json").write_text("{")
    with pytest.raises(RatewrightError, match=r"leaderboard\.json"):
        report.run(tree)
