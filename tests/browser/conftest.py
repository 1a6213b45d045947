"""Chromium, the page built once, and a page for each of some codecs."""

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, sync_playwright

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.export import export
from components.codecs.exported import ExportedCodec
from components.data.image_files import decode_rgb
from tests.browser.viewer import Viewer, build_model, build_page
from tests.golden.make import FOLDER as GOLDEN
from tests.golden.make import INDEX

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
TILE = 128  # pixels, so that a small picture has several tiles
STREAM = (GOLDEN / "haar_hyper" / "face.rw").read_bytes()  # 96x128


class Built(NamedTuple):
    """A codec as Python runs it, and the folder of its page."""

    python: ExportedCodec
    folder: Path


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    assert CHROMIUM, "Chromium is not installed"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Built]:
    """Pages of golden codecs by name, or of the checkpoint at a path."""
    page = tmp_path_factory.mktemp("page")
    build_page(page)

    @cache
    def build(name: str) -> Built:
        folder = tmp_path_factory.mktemp("built")
        path = Path(name)
        if path.is_absolute():
            codec = checkpoint.load(path)[0]
        else:
            path = folder / "model.safetensors"
            path.write_bytes(gzip.decompress((GOLDEN / name / "model.safetensors.gz").read_bytes()))
            codec = checkpoint.load(path, codec=json.loads(INDEX.read_text())[name]["codec"])[0]
            codec.tile = TILE
        export(codec, folder / "exported")
        build_model(page, folder / "exported", folder / "page")
        return Built(ExportedCodec(folder / "exported", threads=1), folder / "page")

    return build


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Viewer]]:
    """Opens the page of a folder, or at an address. At the end of the test, none may have met an error unseen."""
    viewers: list[Viewer] = []

    def open_at(place: Path | str, scheme: str = "light") -> Viewer:
        address = place if isinstance(place, str) else (place / "index.html").as_uri()
        viewers.append(Viewer(chromium, address, scheme))
        return viewers[-1]

    yield open_at
    for viewer in viewers:
        assert viewer.errors == []
        viewer.page.close()


@pytest.fixture
def codec(built: Callable[[str], Built]) -> Built:
    return built("haar_hyper")


@pytest.fixture
def viewer(codec: Built, open_page: Callable[..., Viewer]) -> Viewer:
    return open_page(codec.folder)


@pytest.fixture
def original() -> Rgb:
    return decode_rgb((GOLDEN / "haar_hyper" / "face.png").read_bytes()) // 2 + 40
