import io
from pathlib import Path

import numpy as np
from PIL import Image

from components.data.image_files import encode_png
from components.data.validation.features import measure
from components.data.validation.findings import SamePictures
from pipeline.reporting.contact_sheet import TILE, Tile, contact_sheet, extreme_tiles, pair_tiles


def write(folder: Path, levels: dict[str, int]) -> None:
    for name, level in levels.items():
        (folder / name).write_bytes(encode_png(np.full((40, 300, 3), level, np.uint8)))


def pixels(sheet: bytes) -> set[tuple[int, ...]]:
    with Image.open(io.BytesIO(sheet)) as picture:
        counted = picture.getcolors(1 << 20)
    assert counted is not None
    return {colour for count, colour in counted if isinstance(colour, tuple) and count > 1000}


def test_every_picture_is_on_the_sheet(tmp_path: Path) -> None:
    levels = {f"a name that is far too long for its tile {number}.png": 10 * number + 5 for number in range(20)}
    write(tmp_path, levels)
    tiles = [Tile(tmp_path / name, name, "note") for name in levels]
    sheet = contact_sheet([("a section", tiles), ("one without pictures", [])])
    assert {(level, level, level) for level in levels.values()} <= pixels(sheet)
    with Image.open(io.BytesIO(sheet)) as picture:
        assert picture.height > 3 * TILE
    assert sheet == contact_sheet([("a section", tiles)]), "the same bytes each time, without the empty section"


def test_a_sheet_without_pictures_is_a_picture() -> None:
    with Image.open(io.BytesIO(contact_sheet([("nothing", [])]))) as picture:
        assert picture.height > 0


def test_extreme_pictures_are_shown_once(tmp_path: Path) -> None:
    levels = {f"{level}.png": level for level in range(0, 250, 10)}
    write(tmp_path, levels)
    features = {name: measure(np.full((40, 300, 3), level, np.uint8), b"") for name, level in levels.items()}
    tiles = extreme_tiles(features, tmp_path)
    names = [tile.title for tile in tiles]
    assert names[:4] == ["0.png", "10.png", "230.png", "240.png"]
    assert len(names) == len(set(names))
    assert tiles[0].note == "mean 0"


def test_both_pictures_of_a_pair_are_side_by_side(tmp_path: Path) -> None:
    pair = SamePictures(first_set="a", first="1.png", second_set="b", second="2.png", how="part", correlation=0.934)
    first, second = pair_tiles([pair], {"a": tmp_path / "a", "b": tmp_path / "b"})
    assert (first.path, second.path) == (tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    assert second.note == "b: r = 0.93"
