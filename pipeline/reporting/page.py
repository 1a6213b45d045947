"""The report as one self-contained HTML page: no script, no network, every picture inside."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from components.arrays import Rgb
from components.errors import RatewrightError

Record = Mapping[str, Any]

DETAIL = 256
"""Side of the details in pixels; they are shown one to one."""


@dataclass(frozen=True)
class Version:
    """One picture as one codec decodes it."""

    codec: str
    kind: str
    pixels: Rgb
    """(height, width, 3)."""
    bpp: float
    psnr_db: float | None


@dataclass(frozen=True)
class Tile:
    """A picture as the page shows it; the pictures are data URIs."""

    codec: str
    kind: str
    bpp: float | None
    psnr_db: float | None
    detail: str
    whole: str


@dataclass(frozen=True)
class Comparison:
    """One test picture: the original first, then its versions."""

    image: str
    width: int
    """Of the detail, in pixels."""
    height: int
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Plot:
    """An inline SVG and the sentence below it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows."""

    leaderboard: Record
    """The content of leaderboard.json."""
    evaluations: Mapping[str, Record]
    """Name -> the content of its metrics.json, best first, lossless ones last."""
    rate_plots: Sequence[Plot]
    comparisons: Sequence[Comparison]
    prefixes: Plot | None
    """One file of each progressive codec at any rate."""
    strips: Sequence[Comparison]
    maps: Plot | None
    """What codecs tell of one picture, position by position."""
    search: Plot | None
    training: Plot | None


def render(report: ReportData) -> str:
    """The HTML page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.globals["figure"] = figure
    environment.filters["svg"] = Markup
    board = report.leaderboard
    points = {name: _point(metrics, board["test_set"]) for name, metrics in report.evaluations.items()}
    winner = next((row for row in board["rows"] if row["name"] == board["winner"]), None)
    return environment.get_template("page.html").render(
        report=report, board=board, points=points, winner=winner, detail=DETAIL
    )


def figure(field: str, spec: str, record: Record, *more: Record) -> str | Markup:
    """`record[field]` formatted with `spec`; a null is a dash whose tooltip gives the reason.

    The reason is the first `<field>_why` (or `at_target_why`, where a whole point is missing) in the records.
    """
    value = record.get(field)
    if value is not None:
        return format(value, spec)
    whys = (source.get(key) for key in (f"{field}_why", "at_target_why") for source in (record, *more))
    why = next((why for why in whys if why), "not measured")
    return Markup('<span class="none" tabindex="0" title="{0}" aria-label="none: {0}">&ndash;</span>').format(why)


def side_by_side(image: str, original: Rgb, versions: Sequence[Version]) -> Comparison:
    """The same detail of a picture in all versions, and the whole of each, scaled down.

    Details are embedded without loss, so that what is seen is the codec's doing.

    Raises RatewrightError if a version is not of the original's size.
    """
    for version in versions:
        if version.pixels.shape != original.shape:
            (height, width), (h, w) = original.shape[:2], version.pixels.shape[:2]
            raise RatewrightError(f"{version.codec} decodes {image} of {width}x{height} pixels to {w}x{h}")
    top, left = telling_corner(original, [version.pixels for version in versions])

    def tile(codec: str, kind: str, pixels: Rgb, bpp: float | None, psnr_db: float | None) -> Tile:
        whole = Image.fromarray(pixels)
        whole.thumbnail((2 * DETAIL, 2 * DETAIL))  # twice the size it is shown at: sharp on dense screens
        detail = Image.fromarray(pixels[top : top + DETAIL, left : left + DETAIL])
        return Tile(
            codec,
            kind,
            bpp,
            psnr_db,
            _data_uri(detail, lossless=True, method=2),
            _data_uri(whole, quality=88),
        )

    tiles = [tile("Original", "original", original, None, None)]
    tiles += [tile(v.codec, v.kind, v.pixels, v.bpp, v.psnr_db) for v in versions]
    height, width = original.shape[:2]
    return Comparison(image, min(DETAIL, width), min(DETAIL, height), tiles)


def _point(metrics: Record, test_set: str) -> Record:
    """The codec at the target, or as calibrated where it has no such point (and, then, why it has none)."""
    points = metrics["test_sets"].get(test_set, {})
    why = {"at_target_why": points["at_target_why"]} if points.get("at_target_why") else {}
    return {**why, **(points.get("at_target") or points.get("as_calibrated") or {})}


def telling_corner(original: Rgb, versions: Sequence[Rgb]) -> tuple[int, int]:
    """Top and left of the detail: where the versions differ most; a single one is held against the original."""
    height, width = original.shape[:2]
    compared = versions if len(versions) > 1 else [original, *versions]
    total, squares = np.zeros((2, *original.shape), np.float32)
    for pixels in compared:  # one at a time: test pictures are large and codecs many
        total += pixels
        squares += pixels.astype(np.float32) ** 2
    spread = np.sqrt(np.maximum(0, squares / len(compared) - (total / len(compared)) ** 2)).mean(axis=2)
    sums = np.pad(spread.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    corners = [
        (top, left)
        for top in range(0, max(0, height - DETAIL) + 1, 32)
        for left in range(0, max(0, width - DETAIL) + 1, 32)
    ]

    def within(corner: tuple[int, int]) -> float:
        top, left = corner
        bottom, right = min(height, top + DETAIL), min(width, left + DETAIL)
        return float(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])

    return max(corners, key=within)


def _data_uri(image: Image.Image, **options: Any) -> str:
    """The picture as WebP, which is the smallest that every browser shows, with or without loss."""
    stream = io.BytesIO()
    image.save(stream, format="WebP", **options)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
