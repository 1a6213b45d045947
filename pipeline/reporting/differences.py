"""Differences between two codecs of a run, picture by picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.errors import RatewrightError
from components.evaluation.paired import Difference, paired_difference
from components.metrics.table import METRICS
from pipeline.documents.images import ImageRow, read_images, read_kept_images
from pipeline.paths import Layout

_FIGURES = [figure for figure in METRICS if figure in ImageRow.model_fields]


def rows_of(root: Path, codec: str, kept: str | None) -> list[ImageRow]:
    """A codec on every picture, of the last run of a checkout or of a kept one.

    Args:
        root: The checkout.
        codec: A variant or a baseline.
        kept: A folder of results/; None for the last run.

    Raises:
        RatewrightError: There is no such run, or the codec is not in it.
    """
    layout = Layout(root)
    if kept is None:
        return read_images(layout.evaluation(codec) / "images.csv")
    path = layout.results(kept) / "images.csv"
    codecs = read_kept_images(path)
    if codec not in codecs:
        raise RatewrightError(f"{path}: has no {codec}; it has {', '.join(sorted(codecs))}")
    return codecs[codec]


def differences(ours: Sequence[ImageRow], others: Sequence[ImageRow]) -> dict[str, dict[str, Difference]]:
    """Test set -> figure -> ours less the others', over the pictures that have the figure from both at the target rate.

    Raises:
        RatewrightError: The codecs have no picture in common.
    """
    known = {(row.test_set, row.image): row for row in others if row.point == "at_target"}
    pairs: dict[str, list[tuple[ImageRow, ImageRow]]] = {}
    for row in ours:
        other = known.get((row.test_set, row.image))
        if row.point == "at_target" and other is not None:
            pairs.setdefault(row.test_set, []).append((row, other))
    if not pairs:
        raise RatewrightError("the two codecs have no picture in common at the target rate")
    return {test_set: _of_set(rows) for test_set, rows in pairs.items()}


def _of_set(pairs: Sequence[tuple[ImageRow, ImageRow]]) -> dict[str, Difference]:
    found = {}
    for figure in _FIGURES:
        values = [(getattr(ours, figure), getattr(others, figure)) for ours, others in pairs]
        both = np.array([pair for pair in values if None not in pair], dtype=np.float64)
        if len(both):
            found[figure] = paired_difference(both[:, 0], both[:, 1])
    return found
