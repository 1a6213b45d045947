"""Pictures side by side."""

import numpy as np
import pytest

from components.errors import RatewrightError
from pipeline.reporting.comparison import Version, detail_corner, side_by_side


def test_the_detail_is_where_the_versions_differ() -> None:
    original = np.zeros((600, 700, 3), np.uint8)
    damaged = original.copy()
    damaged[-200:, -200:] = 255
    comparison = side_by_side("a.png", original, [Version("c", "learned", damaged, 0.1, None)])
    assert (comparison.width, comparison.height) == (256, 256)
    assert comparison.tiles[0].detail != comparison.tiles[1].detail
    with pytest.raises(RatewrightError, match=r"c decodes a\.png of 700x600 pixels to 700x599"):
        side_by_side("a.png", original, [Version("c", "learned", damaged[1:], 0.1, None)])


def test_the_corner_of_one_version_is_where_it_differs_from_the_original() -> None:
    original = np.zeros((600, 700, 3), np.uint8)
    damaged = original.copy()
    damaged[:100, 400:] = 255
    top, left = detail_corner(original, [damaged])
    assert top == 0
    assert left >= 400
