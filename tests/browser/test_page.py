"""What a reader of the page meets: figures, comparisons, wrong files."""

import re
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from playwright.sync_api import FilePayload

from components.arrays import Rgb
from components.codecs.bitstream import MAX_SIDE, Bitstream
from components.data.image_files import decode_rgb, encode_png
from components.metrics.quality import psnr_db
from tests.browser.conftest import STREAM, Built
from tests.browser.viewer import Viewer
from tests.golden.make import FOLDER as GOLDEN


def test_the_page_opens_from_a_folder_and_asks_for_nothing_else(viewer: Viewer, original: Rgb, codec: Built) -> None:
    viewer.open(STREAM)
    viewer.compare(encode_png(original))
    kept = {url for url in viewer.requests if not url.startswith(("blob:", "data:"))}
    assert kept == {(codec.folder / name).as_uri() for name in ("index.html", "model.js")}


def test_the_page_opens_from_a_server_too(codec: Built, open_page: Callable[..., Viewer]) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=codec.folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        viewer = open_page(f"http://127.0.0.1:{server.server_port}/index.html")
        viewer.open(STREAM)
        assert viewer.pixels().shape == (96, 128, 3)
        server.shutdown()


def test_the_figures_of_a_file(viewer: Viewer, codec: Built) -> None:
    viewer.open(STREAM)
    facts = dict(
        zip(viewer.page.locator("dt").all_inner_texts(), viewer.page.locator("dd").all_inner_texts(), strict=True)
    )
    assert facts["Size"] == f"{len(STREAM):,} bytes"
    assert facts["Rate"] == f"{8 * len(STREAM) / (96 * 128):.3f} bpp"
    assert facts["Picture"] == "128 × 96"
    assert re.fullmatch(r"\d+\.\d\d s", facts["Decoded in"])
    with viewer.page.expect_download() as download:
        viewer.page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "picture.png"
    saved = Path(download.value.path()).read_bytes()
    assert facts["As PNG"] == f"{len(saved):,} bytes · {len(saved) / len(STREAM):.0f} ×"
    assert np.abs(decode_rgb(saved).astype(int) - codec.python.decode(STREAM)).max() <= 1


def test_other_formats_are_at_most_as_large_and_measured(viewer: Viewer, original: Rgb) -> None:
    viewer.open(STREAM)
    viewer.compare(encode_png(original))
    rows = {
        row[0]: row[1:] for row in (text.split("\t") for text in viewer.page.locator("#formats tr").all_inner_texts())
    }
    assert list(rows) == ["haar_hyper", "JPEG", "WebP", "AVIF"]
    names = viewer.page.locator("#pictures figure").evaluate_all("(all) => all.map((each) => each.dataset.name)")
    assert names[:3] == ["haar_hyper", "Original", "JPEG"], "AVIF as the browser can"
    np.testing.assert_array_equal(viewer.pixels(names.index("Original")), original)
    for name, (size, *further) in rows.items():
        if not further:
            assert size == "This browser cannot write it."
            assert name not in names
            continue
        assert int(size.removesuffix(" bytes").replace(",", "")) <= len(STREAM)
        decoded = viewer.pixels(names.index(name))
        assert float(further[0].removesuffix(" dB")) == pytest.approx(psnr_db(original, decoded), abs=0.006)


def test_a_file_too_small_for_jpeg_is_compared_with_the_smallest(viewer: Viewer, codec: Built) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    viewer.open(codec.python.encode(grey))
    viewer.compare(encode_png(np.random.default_rng(0).integers(0, 256, grey.shape, np.uint8)))
    assert "its smallest file, above the size" in viewer.page.locator("#formats").inner_text()


def test_another_file_takes_the_place_of_a_comparison(viewer: Viewer, original: Rgb) -> None:
    viewer.open(STREAM)
    viewer.compare(encode_png(original))
    viewer.open((GOLDEN / "haar_hyper" / "cup.rw").read_bytes())
    assert viewer.pixels().shape == (61, 75, 3)
    assert viewer.page.locator("#pictures figure").count() == 1
    assert not viewer.page.get_by_role("slider").is_visible()
    assert not viewer.page.get_by_role("table").is_visible()


def wrong_files(codec: Built) -> dict[str, tuple[bytes, str]]:
    python, name = codec.python, codec.python.name
    broken = bytearray(STREAM)
    broken[-1] ^= 1
    return {
        "empty": (b"", "This is not a Ratewright file."),
        "a PNG": (encode_png(np.zeros((2, 2, 3), np.uint8)), "This is not a Ratewright file."),
        "truncated": (STREAM[:-3], "This file is truncated: it ends before its last section does."),
        "cut in its header": (STREAM[:20], "This file is truncated: it ends in its header."),
        "damaged": (bytes(broken), "This file is damaged: its checksum does not match."),
        "another codec's": (
            (GOLDEN / "minnen" / "face.rw").read_bytes(),
            "This file was written by codec minnen. This page reads files of haar_hyper.",
        ),
        "another model's": (
            Bitstream(name, bytes(8), 9, 9, (b"",)).pack(),
            f"This file was written by model {'00' * 8}. This page has model {python.model_hash.hex()}.",
        ),
        "too large": (
            Bitstream(name, python.model_hash, MAX_SIDE, 512, (b"",)).pack(),
            "This picture is too large for a page: 65536×512 pixels, at most 16.8 million.",
        ),
        "no words": (
            Bitstream(name, python.model_hash, 9, 9, (b"\0\0\0",)).pack(),
            "This file is damaged: its coded bytes are not whole words.",
        ),
        "no palette": (
            Bitstream(name, python.model_hash, 9, 9, (b"", b"")).pack(),
            "This file is damaged: it has no palette.",
        ),
    }


def test_wrong_files_are_one_line_and_the_picture_stays(viewer: Viewer, codec: Built) -> None:
    viewer.open(STREAM)
    before = viewer.pixels()
    for kind, (content, line) in wrong_files(codec).items():
        viewer.open(content)
        assert viewer.error == line, kind
        assert viewer.message == ""
    np.testing.assert_array_equal(viewer.pixels(), before)
    viewer.open(STREAM)
    assert viewer.error == ""


def test_wrong_originals_are_one_line(viewer: Viewer) -> None:
    viewer.open(STREAM)
    viewer.compare(b"no picture", "notes.png")
    assert viewer.error == "notes.png is not a picture that this browser reads."
    viewer.compare(encode_png(np.zeros((9, 7, 3), np.uint8)))
    assert viewer.error == "photo.png has 7 × 9 pixels, the picture has 128 × 96."


def test_files_can_be_dropped(viewer: Viewer, original: Rgb) -> None:
    drop = """([content, name, type]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(content)], name, { type }));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }"""
    viewer.page.evaluate(drop, [list(encode_png(original)), "photo.png", "image/png"])
    viewer.page.get_by_text("Open a Ratewright file first").wait_for()
    viewer.page.evaluate(drop, [list(STREAM), "dropped.rw", ""])
    viewer.page.get_by_text("dropped.rw: 128 × 96 pixels").wait_for()
    viewer.page.evaluate(drop, [list(encode_png(original)), "photo.png", "image/png"])
    viewer.page.get_by_text("Compared with photo.png").wait_for()


def test_a_page_without_its_model_says_so(codec: Built, tmp_path: Path, open_page: Callable[..., Viewer]) -> None:
    (tmp_path / "index.html").write_bytes((codec.folder / "index.html").read_bytes())
    viewer = open_page(tmp_path)
    assert viewer.error == "model.js is missing: it belongs beside this page, and `make browser` writes it."
    viewer.errors.clear()  # the browser's own, that there is no such file


def test_a_newer_file_overtakes_an_older_one(viewer: Viewer, codec: Built) -> None:
    slow = codec.python.encode(np.zeros((1000, 1000, 3), np.uint8) + np.arange(1000, dtype=np.uint8)[:, None])
    field = viewer.page.locator("#stream")
    field.set_input_files(files=FilePayload(name="slow.rw", mimeType="", buffer=slow))
    viewer.open(STREAM, "quick.rw")
    assert viewer.message.startswith("quick.rw: ")
    assert viewer.pixels().shape == (96, 128, 3)
