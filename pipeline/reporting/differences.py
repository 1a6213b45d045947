"""Differences between two codecs of a run, picture by picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.errors import RatewrightError
from components.evaluation.paired import Difference, paired_difference
from components.metrics.table import METRICS
from pipeline.documents import Evaluation
from pipeline.documents.images import ImageRow, read_images, read_kept_images
from pipeline.paths import Layout

REPORTED = ("psnr_db", "ssimulacra2")
"""Figures of the report's differences from the winner."""

_FIGURES = tuple(figure for figure in METRICS if figure in ImageRow.model_fields)

Differences = Mapping[str, Mapping[str, Difference]]
"""Test set -> figure -> the difference of two codecs."""


@dataclass(frozen=True)
class FromWinner:
    """How codecs differ from the winner at the target rate.

    Attributes:
        winner: The codec that all are compared with.
        pictures: Test set -> number of its pictures.
        codecs: Codec -> its figures less the winner's; a test set or a figure that cannot be compared is left out.
        on_other_pictures: Codecs, and the set of each, that were measured on other pictures than the winner.
    """

    winner: str
    pictures: Mapping[str, int]
    codecs: Mapping[str, Differences]
    on_other_pictures: Sequence[tuple[str, str]]


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


def differences(ours: Sequence[ImageRow], others: Sequence[ImageRow]) -> Differences:
    """Ours less the others', over the pictures of each test set that have a figure from both at the target rate.

    Raises:
        RatewrightError: The codecs have no picture in common.
    """
    pairs = _pairs(ours, others)
    if not pairs:
        raise RatewrightError("the two codecs have no picture in common at the target rate")
    return {test_set: _of_set(rows, _FIGURES) for test_set, rows in pairs.items()}


def from_winner(root: Path, winner: str, evaluations: Mapping[str, Evaluation]) -> FromWinner:
    """Every other codec less the winner, over the pictures of each test set that both were measured on.

    Args:
        root: The checkout.
        winner: The codec that all are compared with.
        evaluations: The codecs, the winner among them; lossless ones are left out.

    Raises:
        RatewrightError: images.csv of a codec is missing or wrong.
    """
    pinned, base = evaluations[winner].test_set_sha256, rows_of(root, winner, None)
    codecs: dict[str, Differences] = {}
    elsewhere: list[tuple[str, str]] = []
    for name, evaluation in evaluations.items():
        if name == winner or evaluation.kind == "lossless":
            continue
        others = [each for each in pinned if evaluation.test_set_sha256.get(each) != pinned[each]]
        elsewhere += [(name, test_set) for test_set in others]
        pairs = _pairs(rows_of(root, name, None), base)
        codecs[name] = {each: _of_set(rows, REPORTED) for each, rows in pairs.items() if each not in others}
    pictures = {each: results.as_calibrated.images for each, results in evaluations[winner].test_sets.items()}
    return FromWinner(winner, pictures, codecs, elsewhere)


def _pairs(ours: Sequence[ImageRow], others: Sequence[ImageRow]) -> dict[str, list[tuple[ImageRow, ImageRow]]]:
    """Test set -> the rows at the target rate of each picture that both have."""
    known = {(row.test_set, row.image): row for row in others if row.point == "at_target"}
    pairs: dict[str, list[tuple[ImageRow, ImageRow]]] = {}
    for row in ours:
        other = known.get((row.test_set, row.image))
        if row.point == "at_target" and other is not None:
            pairs.setdefault(row.test_set, []).append((row, other))
    return pairs


def _of_set(pairs: Sequence[tuple[ImageRow, ImageRow]], figures: Sequence[str]) -> dict[str, Difference]:
    """Figure -> the mean of its differences over pairs of rows, where there are any."""
    found = {}
    for figure in figures:
        values = [(getattr(ours, figure), getattr(others, figure)) for ours, others in pairs]
        both = np.array([pair for pair in values if None not in pair], dtype=np.float64)
        if len(both):
            found[figure] = paired_difference(both[:, 0], both[:, 1])
    return found
