"""The page in a browser, as a reader uses it."""

import base64
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, FilePayload, Page

from components.arrays import Rgb
from pipeline.paths import CHECKOUT

BUILD = CHECKOUT / "browser" / "build"
PATIENCE_MS = 120_000  # of everything: the machine may be busy
_BASE64 = """(bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 30000) text += String.fromCharCode(...bytes.subarray(at, at + 30000));
    return btoa(text);
}"""
_PIXELS = f"""(canvas) => {{
    const {{ width, height }} = canvas;
    const {{ data }} = canvas.getContext("2d").getImageData(0, 0, width, height);
    return [height, width, ({_BASE64})(data)];
}}"""
_LATENTS = f"""async (stream) => {{
    const latents = await ratewright.latents(Uint8Array.from(atob(stream), (letter) => letter.charCodeAt(0)));
    return ({_BASE64})(new Uint8Array(latents.buffer));
}}"""


def build_page(folder: Path) -> None:
    """Write index.html into a folder."""
    _node("page.mjs", folder)


def build_model(page: Path, exported: Path, folder: Path) -> None:
    """Write a page with an exported codec into a folder. `page` is a folder with index.html."""
    _node("model.mjs", exported, folder)
    shutil.copy(page / "index.html", folder)


def _node(script: str, *arguments: Path) -> None:
    subprocess.run(["node", BUILD / script, *arguments], check=True, capture_output=True, timeout=300)


class Viewer:
    """A page that is open. `requests` are the addresses that it asked for."""

    def __init__(self, chromium: Browser, address: str, scheme: str = "light"):
        self.page: Page = chromium.new_page(color_scheme=scheme, viewport={"width": 1000, "height": 900})
        self.page.set_default_timeout(PATIENCE_MS)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.goto(address)

    def open(self, stream: bytes, name: str = "picture.rw") -> None:
        """Choose a file and wait until it is shown or refused."""
        self._choose("stream", FilePayload(name=name, mimeType="", buffer=stream))

    def compare(self, png: bytes, name: str = "photo.png") -> None:
        """Choose the original photograph and wait for the comparison, or for why there is none."""
        self._choose("original", FilePayload(name=name, mimeType="image/png", buffer=png))

    def _choose(self, field: str, file: FilePayload) -> None:
        self.page.locator(f"#{field}").set_input_files(files=file)
        self.page.locator("body[aria-busy]").wait_for(state="detached")

    @property
    def message(self) -> str:
        """What the page says."""
        return str(self.page.locator("#message").inner_text())

    @property
    def error(self) -> str:
        """Why the page refused a file."""
        return str(self.page.locator("#error").inner_text())

    def pixels(self, figure: int = 0) -> Rgb:
        """A picture as it is shown, (H, W, 3)."""
        height, width, data = self.page.locator("#pictures canvas").nth(figure).evaluate(_PIXELS)
        rgba = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
        assert (rgba[..., 3] == 255).all()
        rgb: Rgb = rgba[..., :3]
        return rgb

    def latents(self, stream: bytes) -> NDArray[np.float64]:
        """The quantised latents, flat."""
        data = self.page.evaluate(_LATENTS, base64.b64encode(stream).decode())
        return np.frombuffer(base64.b64decode(data), np.float64)
