"""Codecs and pictures for services."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.export import export
from components.codecs.exported import DESCRIPTION
from components.data.image_files import encode_png


@pytest.fixture(scope="session")
def exported(make_codec: Callable[..., Codec], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported codec."""
    folder = tmp_path_factory.mktemp("exported") / "codec"
    export(make_codec("minnen"), folder)
    return folder


@pytest.fixture(scope="session")
def another(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that makes an exported codec with another hash, whose streams `exported` refuses."""

    def make(model_hash: str) -> Path:
        folder = tmp_path_factory.mktemp("another") / "codec"
        shutil.copytree(exported, folder)
        description = json.loads((folder / DESCRIPTION).read_text())
        (folder / DESCRIPTION).write_text(json.dumps({**description, "model_hash": model_hash}))
        return folder

    return make


@pytest.fixture(scope="session")
def picture(photograph: Rgb) -> bytes:
    """A small picture."""
    return encode_png(photograph)


@pytest.fixture(scope="session")
def large_picture(photograph: Rgb) -> bytes:
    """A picture of 15 million pixels, which keeps a worker busy for seconds."""
    file = io.BytesIO()
    Image.fromarray(np.tile(photograph, (25, 20, 1))).save(file, "JPEG")
    return file.getvalue()
