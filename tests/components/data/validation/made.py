"""Real pictures, and what becomes of them when somebody passes them on."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from components.arrays import Rgb
from components.data.manifest import FetchedFile
from components.data.validation.picture import Picture, measure_all
from components.storage.atomic import sha256_of

TRAINING = ("rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg", "ihc.png", "grass.png", "camera.png")
TEST = ("astronaut.png", "chelsea.png", "coffee.png")


@cache
def bundled(name: str) -> Rgb:
    """A photograph of scikit-image."""
    with Image.open(Path(skimage.__file__).parent / "data" / name) as picture:
        return np.array(picture.convert("RGB"))


def leak(rgb: Rgb, *, crop: float = 1.0, scale: float = 1.0, flip: bool = False, turns: int = 0) -> Rgb:
    """The middle of a picture with the share `crop` of its sides, scaled, mirrored and turned by quarters."""
    height, width = rgb.shape[:2]
    rows, columns = round(height * crop), round(width * crop)
    top, left = (height - rows) // 2, (width - columns) // 2
    picture = Image.fromarray(rgb[top : top + rows, left : left + columns])
    picture = picture.resize((round(columns * scale), round(rows * scale)), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture)[:, ::-1] if flip else np.asarray(picture)
    return np.ascontiguousarray(np.rot90(pixels, turns))


def jpeg(rgb: Rgb, quality: int) -> bytes:
    """A JPEG file."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(rgb: Rgb) -> bytes:
    """A PNG file."""
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def files_of(folder: Path, contents: dict[str, bytes]) -> list[FetchedFile]:
    """Write files into a folder; their entries of a manifest, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
        digest = sha256_of(folder / name)
        found.append(
            FetchedFile(name=name, source_name=name, sha256=digest, source_sha256=digest, width=width, height=height)
        )
    return found


def measured(folder: Path, contents: dict[str, bytes]) -> list[Picture]:
    """The pictures of these files."""
    return measure_all(folder, files_of(folder, contents), folder / "cache", threads=2)
