"""Pictures that show the same: within a data set, and of calibration and test in what codecs are trained on."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np

from .alignment import correlations
from .crops import CropFinder, Known
from .perceptual_hash import alike, hashes, hashes_in_orientations, oriented
from .picture import Picture

How = Literal["file", "pixels", "near", "part"]
"""What two pictures share: their file; all pixels; the whole picture, scaled, turned or coded anew; a part of it."""

DISTANCE = 14
"""Bits of 63 in which the hashes of pictures may differ whose thumbnails are compared."""


class Pair(NamedTuple):
    """Two pictures that show the same."""

    first: int
    """Place of the first one in its sequence."""
    second: int
    """Place of the second one in its sequence."""
    how: How
    """What they share."""
    correlation: float
    """Of their aligned pixels, -1 to 1."""


def within(pictures: Sequence[Picture]) -> list[Pair]:
    """Pairs of one sequence that show the whole of the same picture, each with the smaller place first."""
    return [pair for pair in across(pictures, pictures) if pair.first < pair.second]


def across(first: Sequence[Picture], second: Sequence[Picture]) -> list[Pair]:
    """Pairs of two sequences that show the whole of the same picture, in any of the 8 orientations."""
    if not first or not second:
        return []
    left = np.stack([picture.thumbnail for picture in first])
    right = np.stack([picture.thumbnail for picture in second])
    found: dict[tuple[int, int], Pair] = {}
    for pair in _exact(first, second):
        found[pair.first, pair.second] = pair
    for one, other, orientation in alike(hashes(left), hashes_in_orientations(right), DISTANCE):
        agreed = correlations(left[one], np.ascontiguousarray(oriented(right[other], orientation)))
        if (one, other) not in found and agreed is not None and agreed.is_same:
            found[one, other] = Pair(one, other, "near", round(agreed.correlation, 4))
    return [found[places] for places in sorted(found)]


def leaks(
    training: Sequence[Picture],
    held_out: Sequence[Picture],
    *,
    threads: int,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Pair]:
    """Training pictures that show a held-out one, whole or in part.

    Args:
        training: what codecs are trained on; the first of each pair.
        held_out: pictures of calibration and test; the second of each pair.
        threads: training pictures under way at a time.
        progress: called with the number of training pictures done and that of all.
    """
    found = {(pair.first, pair.second): pair for pair in across(training, held_out)}
    known = [Known(picture.local, picture.grey_width) for picture in held_out]
    finder = CropFinder(known, lambda place: held_out[place].grey)

    def search(picture: Picture) -> list[Pair]:
        matches = finder.search(picture.local, lambda: picture.grey)
        return [Pair(0, match.place, "part", round(match.agreement.correlation, 4)) for match in matches]

    with ThreadPoolExecutor(threads) as pool:
        for place, pairs in enumerate(pool.map(search, training)):
            for pair in pairs:
                found.setdefault((place, pair.second), Pair(place, pair.second, pair.how, pair.correlation))
            progress(place + 1, len(training))
    return [found[places] for places in sorted(found)]


def _exact(first: Sequence[Picture], second: Sequence[Picture]) -> Iterator[Pair]:
    """Pairs with equal pixels, or with one file."""
    places: dict[str, list[int]] = {}
    for place, picture in enumerate(second):
        places.setdefault(picture.pixels_sha256, []).append(place)
    for place, picture in enumerate(first):
        for other in places.get(picture.pixels_sha256, []):
            yield Pair(place, other, "file" if picture.sha256 == second[other].sha256 else "pixels", 1.0)
