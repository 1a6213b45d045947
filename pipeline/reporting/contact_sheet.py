"""A contact sheet of the pictures that stand out in data sets: those that show the same, and extreme ones."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components.arrays import Rgb
from components.data.image_files import decode_rgb
from components.data.validation.features import Features, reduce
from components.data.validation.findings import SamePictures

TILE = 160
"""Side in pixels of the square that a picture lies in."""
PAIRS = 12
"""Pairs that are shown, at the most."""
EXTREMES = 2
"""Pictures at each end of a figure."""

FIGURES = ("mean", "contrast", "colourfulness", "flat", "text")
"""Figures whose extreme pictures are shown."""

_COLUMNS, _GAP, _LINE = 8, 12, 14
_PAPER, _INK, _SOFT = (253, 253, 251), (28, 31, 36), (107, 112, 121)


@dataclass(frozen=True)
class Tile:
    """A picture of the sheet.

    Attributes:
        path: Its file.
        title: First line below it.
        note: Second line.
    """

    path: Path
    title: str
    note: str


def pair_tiles(pairs: Sequence[SamePictures], folders: Mapping[str, Path]) -> list[Tile]:
    """Both pictures of each pair, one after the other.

    Args:
        pairs: The pairs.
        folders: Data set -> its folder.
    """
    tiles = []
    for pair in pairs[:PAIRS]:
        tiles.append(Tile(folders[pair.first_set] / pair.first, pair.first, f"{pair.first_set}: {pair.how}"))
        note = f"{pair.second_set}: r = {pair.correlation:.2f}"
        tiles.append(Tile(folders[pair.second_set] / pair.second, pair.second, note))
    return tiles


def extreme_tiles(features: Mapping[str, Features], folder: Path) -> list[Tile]:
    """The pictures at both ends of each figure; a picture is shown once.

    Args:
        features: File name -> figures.
        folder: Of the data set.
    """
    tiles: dict[str, Tile] = {}
    for figure in FIGURES:
        ordered = sorted(features, key=lambda name: (getattr(features[name], figure), name))
        ends = ordered[-EXTREMES:] if figure in ("flat", "text") else [*ordered[:EXTREMES], *ordered[-EXTREMES:]]
        for picture in ends:
            note = f"{figure} {getattr(features[picture], figure):.4g}"
            tiles.setdefault(picture, Tile(folder / picture, picture, note))
    return list(tiles.values())


def contact_sheet(sections: Iterable[tuple[str, Sequence[Tile]]]) -> bytes:
    """The sheet as a PNG file: a title and rows of eight pictures for each section that has any."""
    filled = [(title, tiles) for title, tiles in sections if tiles]
    cell = TILE + 2 * _LINE + _GAP
    rows = sum(-(-len(tiles) // _COLUMNS) for _, tiles in filled)
    height = _GAP + len(filled) * (_LINE + _GAP) + rows * cell
    sheet = Image.new("RGB", (_GAP + _COLUMNS * (TILE + _GAP), height), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    top = _GAP
    for title, tiles in filled:
        draw.text((_GAP, top), title, _INK, font)
        top += _LINE + _GAP
        for place, tile in enumerate(tiles):
            left = _GAP + place % _COLUMNS * (TILE + _GAP)
            _draw(sheet, draw, font, tile, left, top)
            if place % _COLUMNS == _COLUMNS - 1 or place == len(tiles) - 1:
                top += cell
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _draw(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    tile: Tile,
    left: int,
    top: int,
) -> None:
    small: Rgb = reduce(decode_rgb(tile.path.read_bytes()), TILE)
    height, width = small.shape[:2]
    sheet.paste(Image.fromarray(np.ascontiguousarray(small)), (left + (TILE - width) // 2, top + (TILE - height) // 2))
    draw.text((left, top + TILE), _shortened(tile.title), _INK, font)
    draw.text((left, top + TILE + _LINE), _shortened(tile.note), _SOFT, font)


def _shortened(text: str, length: int = 27) -> str:
    """The text in one line of a tile; of longer ones the end, which tells pictures apart."""
    return text if len(text) <= length else f"…{text[-length + 1 :]}"
