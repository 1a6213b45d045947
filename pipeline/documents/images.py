"""evaluation/<name>/images.csv: one codec on every picture, at every rate that it was measured at."""

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, ValidationError

from components.errors import RatewrightError
from components.settings import faults
from components.storage.atomic import write_bytes
from pipeline.documents.base import Section, text_of

Label = Literal["as_calibrated", "at_target", "above_target"]
"""The codec as it is deployed, or brought to the target rate on the very set, or, where a codec has whole qualities
only, at the next quality, whose rate is above the target."""


class ImageRow(Section):
    """One picture through a codec."""

    model_config = ConfigDict(strict=False)  # CSV holds text

    test_set: str
    """Name of the set."""
    point: Label
    """`as_calibrated`, `at_target` or `above_target`."""
    image: str
    """Name of the picture's file."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    bytes: int
    """Size of the whole file, headers included."""
    bpp: float
    """8 * bytes / pixels."""
    psnr_db: float | None
    """Peak signal-to-noise ratio in dB."""
    ssim: float | None
    """Structural similarity."""
    ms_ssim: float | None
    """Multi-scale structural similarity."""
    swd: float | None
    """Sliced Wasserstein distance of patches, in thousandths of the original's deviation."""
    encode_s: float
    """Seconds of encoding."""
    decode_s: float
    """Seconds of decoding."""
    ssimulacra2: float | None = None
    """Score of SSIMULACRA 2."""
    psnr_hvs_m_db: float | None = None
    """PSNR-HVS-M in dB."""
    ceiling_db: float | None = None
    """PSNR in dB of the codec's transforms alone, with nothing quantised; the same at every rate."""


def read_images(path: Path) -> list[ImageRow]:
    """Read images.csv.

    Raises:
        RatewrightError: The file is missing or has a wrong cell; one line that names both.
    """
    return [row for _, row in _read(path)]


def read_kept_images(path: Path) -> dict[str, list[ImageRow]]:
    """Codec -> its rows, of the images.csv of a kept run, whose first column is the codec. Raises as `read_images`."""
    rows: dict[str, list[ImageRow]] = {}
    for codec, row in _read(path):
        rows.setdefault(codec, []).append(row)
    return rows


def _read(path: Path) -> Iterator[tuple[str, ImageRow]]:
    """The codec of each row, empty where there is no such column, and the row."""
    for number, cells in enumerate(csv.DictReader(text_of(path).splitlines()), 1):
        codec = cells.pop("codec", "")
        try:
            yield codec, ImageRow.model_validate({column: cell or None for column, cell in cells.items()})
        except ValidationError as error:
            raise RatewrightError(f"{path}, row {number}: {faults(error)}") from error


def write_images(rows: Iterable[ImageRow], path: Path) -> None:
    """Write images.csv, whole or not at all; a figure that does not exist is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ImageRow.model_fields)
    writer.writerows([value for _, value in row] for row in rows)
    write_bytes(path, text.getvalue().encode())
