import csv
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from components.errors import RatewrightError
from components.storage.atomic import read_json, write_json
from pipeline.stages import report

KINDS = {"swift": "learned", "jpeg": "baseline", "plain": "learned", "packed": "lossless"}
NO_PSNR = "lossless: there is no error"
COLUMNS = [
    "test_set", "point", "image", "width", "height", "bytes", "bpp", "psnr_db", "ssim", "ms_ssim", "swd",
    "encode_s", "decode_s",
]  # fmt: skip


def point(bpp: float, psnr_db: float | None, **whys: str) -> dict[str, Any]:
    figures = {"bpp": bpp, "bpp_mean": bpp, "psnr_db": psnr_db, "ssim": 0.8, "ms_ssim": 0.95, "swd": 123.4}
    return {
        "images": 1,
        "pixels": 4096,
        "bytes": 77,
        **figures,
        "encode_s_per_mpx": 1,
        "decode_s_per_mpx": 2,
        **whys,
    }


def evaluation(root: Path, name: str, psnr_db: float) -> dict[str, Any]:
    """Write what `evaluate` leaves for one codec; returns its metrics."""
    kind, folder = KINDS[name], root / "evaluation" / name
    lossless = point(9.0, None, psnr_db_why=NO_PSNR)
    metrics: dict[str, Any] = {
        "name": name, "kind": kind, "target_bpp": 0.15,
        "parameters": 1234567 if kind == "learned" else None, "parameters_why": "no network <here>",
        "encoder_kmac_per_px": None, "decoder_kmac_per_px": None, "peak_mb": 10.5,
        "test_sets": {
            "kodak": {"as_calibrated": lossless, "at_target": None, "at_target_why": "no rate to choose"}
            if kind == "lossless"
            else {"as_calibrated": point(0.19, psnr_db + 1), "at_target": point(0.149, psnr_db)}
        },
        "test_set_sha256": {"kodak": "0" * 64},
        "curve": {"kodak": [{"bpp": bpp, "psnr_db": psnr_db + 20 * (bpp - 0.149)} for bpp in (0.09, 0.149, 0.24)]},
    }  # fmt: skip
    if kind == "baseline":
        metrics |= {
            "version": "Pillow 12.0",
            "settings": "optimised",
            "quality": {"as_calibrated": 7, "at_target": None},
        }
    write_json(folder / "metrics.json", metrics)
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [COLUMNS, ["kodak", "at_target", "cat.png", 451, 300, 9, 0.1431, psnr_db + 0.07, "", "", "", 0.5, 0.5]]
        )
    picture = Image.fromarray(skimage.data.chelsea())
    kept = folder / "reconstructions" / "kodak" / "cat.png"
    kept.parent.mkdir(parents=True)
    picture.reduce(4).resize(picture.size).save(kept)
    return metrics


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `report` reads. Nobody changes it."""
    root = tmp_path_factory.mktemp("whole")
    write_run(root)
    return root


@pytest.fixture
def tree(whole: Path, tmp_path: Path) -> Path:
    """The same for one test to change."""
    return shutil.copytree(whole, tmp_path / "tree")


@pytest.fixture(scope="module")
def reported(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with its report."""
    root = shutil.copytree(whole, tmp_path_factory.mktemp("reported") / "tree")
    report.run(root)
    return root


def write_run(tmp_path: Path) -> None:
    rows, lossless = [], []
    for psnr_db, name in zip((29.0, 27.0, 25.0, 0.0), KINDS, strict=True):
        metrics = evaluation(tmp_path, name, psnr_db)
        points = metrics["test_sets"]["kodak"]
        shown = points["at_target"] or points["as_calibrated"]
        figures = ("bpp", "psnr_db", "ssim", "ms_ssim", "swd", "encode_s_per_mpx", "decode_s_per_mpx")
        costs = ("parameters", "parameters_why", "encoder_kmac_per_px", "decoder_kmac_per_px", "peak_mb")
        row: dict[str, Any] = {"name": name, "kind": KINDS[name], **{cost: metrics[cost] for cost in costs}}
        if KINDS[name] == "lossless":
            row |= {figure: shown[figure] for figure in ("bpp", "encode_s_per_mpx", "decode_s_per_mpx")}
            more = {"bits_per_sample": 3.0, "share_of_png": None, "share_of_png_why": "png is not here"}
            lossless.append({**row, **more})
            continue
        row |= {figure: shown[figure] for figure in figures}
        row["bd_rate_percent"] = -12.3 if name == "swift" else None
        rows.append(row)
        if KINDS[name] == "learned":
            tries = [
                {"phase": phase, "lmbda": lmbda, "gain": 1.0, "bpp": bpp, "steps": 10}
                for phase, lmbda, bpp in [
                    ("training", 0.1, 0.3),
                    ("fine_tune", 0.05, 0.16),
                    ("gain_search", 0.05, 0.149),
                ]
            ]
            calibration = {
                "name": name, "target_bpp": 0.15, "tolerance": 0.02, "calibration_set": "clic",
                "rate_parameter": "lmbda", "setting": "gain 1.0000", "model_hash": "00",
                "lmbda": 0.05, "gain": 1.0, "bpp": 0.149, "steps": 10,
                "history": tries,
            }  # fmt: skip
            write_json(tmp_path / "models" / name / "calibration.json", calibration)
            steps = [
                {"step": step, "lmbda": 0.1, "val_loss": 2.0 / step, "val_psnr_db": 30.0,
                 "skipped": 0, "diverged": False,
                 "lr": 1e-4, "train_loss": 1, "val_bpp_estimated": 0.2,
                 "calibration_bpp": 0.2 if step == 2 else None}
                for step in (1, 2, 3)
            ]  # fmt: skip
            lines = "".join(json.dumps(step) + "\n" for step in steps)
            (tmp_path / "models" / name / "history.jsonl").write_text(lines)
    board = {
        "target_bpp": 0.15,
        "test_set": "kodak",
        "test_set_sha256": "0" * 64,
        "metric": "psnr_db",
        "rows": rows,
        "anchor": "jpeg2000",
        "calibration": {"test_set": "clic", "test_set_sha256": None, "rows": []},
        "lossless": lossless,
        "winner": "swift",
        "why": "2 dB above <jpeg>",
    }
    write_json(tmp_path / "leaderboard.json", board)
    original = tmp_path / "data" / "raw" / "kodak" / "cat.png"
    original.parent.mkdir(parents=True)
    Image.fromarray(skimage.data.chelsea()).save(original)


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
    assert "<script" not in page
    assert "@import" not in page
    assert page.count('class="detail"') == 4  # the original and three lossy codecs


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


@contextmanager
def changed(path: Path) -> Iterator[dict[str, Any]]:
    """A JSON file's content, which is written back with its changes."""
    document = read_json(path)
    yield document
    write_json(path, document)


def section_of(page: str, title: str) -> str:
    return page[page.index(f"<h2>{title}</h2>") :].partition("</section>")[0]


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


def test_ceilings_stand_beside_the_psnr_at_the_target(reported: Path, compared: str) -> None:
    section = section_of(compared, "Ceilings")
    assert re.findall(r'scope="row">(\w+)', section) == ["swift"]
    assert re.search(r">29\.00</td><td>32\.01</td><td>50%</td>", section)
    assert "<h2>Ceilings</h2>" not in (reported / "report" / "index.html").read_text(), "a run from before"


def figures_of(row: str) -> list[tuple[str, bool]]:
    """Text of each figure of a row of differences, and whether it is grey."""
    return [(text, "soft" in classes) for classes, text in re.findall(r'<td class="([^"]*)">(.*?)</td>', row)]


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


def make_progressive(tree: Path) -> None:
    """Make `swift` progressive, and the JPEG of this test too."""
    for name, worse in (("swift", 0), ("jpeg", 2)):
        folder = tree / "evaluation" / name / "reconstructions" / "kodak" / "prefixes"
        folder.mkdir()
        rates = [0.02, 0.05, 0.1, 0.2, 0.5]
        points = [{"bytes": int(1e4 * r), "bpp": r, "psnr_db": 20 + 10 * r, "ms_ssim": None} for r in rates]
        write_json(folder / "curve.json", {"image": "cat.png", "violations": worse, "points": points})
    picture = Image.fromarray(skimage.data.chelsea())
    for rate in ("0.02", "0.1", "0.5"):
        picture.save(tree / "evaluation" / "swift" / "reconstructions" / "kodak" / "prefixes" / f"{rate}.png")


def add_maps_and_settings(tree: Path) -> None:
    """`swift` tells where its bits went, `plain` also what was important, and has two bit depths."""
    bits = np.linspace(0, 1, 4 * 5).reshape(4, 5)
    for name, maps in (("swift", {"bits": bits}), ("plain", {"bits": bits, "importance": 1 - bits})):
        path = tree / "evaluation" / name / "reconstructions" / "kodak" / "maps.json"
        write_json(path, {"image": "cat.png", "maps": {kind: found.tolist() for kind, found in maps.items()}})
    path = tree / "evaluation" / "plain" / "metrics.json"
    points = [
        {"setting": "2 bits, 9 channels", **point(0.1, 20.0)},
        {"setting": "8 bits, 9 channels", **point(0.4, 22.0)},
    ]
    efforts = [{"effort": effort, "gain": 1.0, **point(0.15, psnr)} for effort, psnr in ((0, 19.1), (5, 23.4))]
    more: dict[str, Any] = {"efforts": {"kodak": efforts}}
    more |= {"reported": "31 dB <at> any rate", "setting": "2 bits, 7 channels", "operating_points": {"kodak": points}}
    write_json(path, {**read_json(path), **more})


@pytest.fixture(scope="module")
def rich(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run with everything that only some codecs have."""
    root = shutil.copytree(whole, tmp_path_factory.mktemp("rich") / "tree")
    make_progressive(root)
    add_maps_and_settings(root)
    with changed(root / "evaluation" / "jpeg" / "metrics.json") as metrics:
        metrics["test_set_sha256"]["kodak"] = "1" * 64
    report.run(root)
    return root / "report"


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
