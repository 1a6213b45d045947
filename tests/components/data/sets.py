"""Data sets, pictures and a web server for the tests of fetching."""

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np
from PIL import Image

from components.data.dataset import Dataset, NamedDataset


def data_set(
    name: str,
    source: str | None = None,
    files: Sequence[str] | None = None,
    manifest: Path | None = None,
    *,
    mirror: str | None = None,
    **fields: Any,
) -> NamedDataset:
    """A data set by the fields of its definition."""
    names = None if files is None else list(files)
    pinned = None if manifest is None else str(manifest)
    return NamedDataset(name, Dataset(source=source, files=names, manifest=pinned, **fields), mirror)


def changed(dataset: NamedDataset, **fields: Any) -> NamedDataset:
    """The same data set with other fields in its definition."""
    return replace(dataset, definition=Dataset.model_validate({**dataset.definition.model_dump(), **fields}))


def picture(seed: int, mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (8, 12, len(mode)), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(array[..., 0] if len(mode) == 1 else array, mode).save(out, kind, **options)
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def listing(path: Path, files: dict[str, bytes], base_url: str | None = None) -> Path:
    entries = [{"name": name, "sha256": sha256(data)} for name, data in files.items()]
    path.write_text(json.dumps({"dataset": "set", "base_url": base_url, "not_in_this_copy": [], "files": entries}))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Web:
    """Files over http on loopback, and the requests served; from a chosen request on, only 403."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.budget = 1_000_000
        lock = Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                name = handler.path.lstrip("/")
                with lock:
                    self.budget -= 1
                    open_for_business = self.budget >= 0
                    if open_for_business:
                        self.requests.append(name)
                content = self.files.get(name)
                found = content is not None and open_for_business
                handler.send_response(200 if found else 404 if open_for_business else 403)
                handler.send_header("Content-Length", str(len(content or b"") if found else 0))
                handler.end_headers()
                if found:
                    handler.wfile.write(content or b"")

            def log_message(handler, *_: Any) -> None:  # noqa: N805
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def served(self) -> list[str]:
        served, self.requests = sorted(self.requests), []
        return served
