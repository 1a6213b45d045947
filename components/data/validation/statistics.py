"""The figures of a data set as quantiles, and how far they drifted from those of another revision of it."""

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ...settings import Settings, Share
from ..manifest import FetchedFile
from .features import Features
from .picture import Picture

FIGURES = ("pixels", "grey", "mean", "contrast", "colourfulness", "flat", "text", "jpeg_quality")
"""The figures of a picture that sets are compared by: attributes of `Features`."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""The quantiles that are kept of each."""

_CRITICAL = 1.628  # of the two-sample Kolmogorov-Smirnov test at a level of 1 %, times sqrt((n + m) / nm)


class MeasuredPicture(Settings):
    """A picture of a set, as it is kept for later revisions."""

    sha256: str
    """Of its file."""
    source_name: str
    """Where it came from: a name at the source; `archive/member` for a part of an archive."""
    source_sha256: str
    """Of the bytes at the source."""
    features: Features
    """Its figures."""


class SetStatistics(Settings):
    """Counts and quantiles of a data set."""

    pictures: int
    """Number of pictures."""
    undecodable: int
    """Files at the source that are no pictures, and were left out."""
    jpegs: int
    """Pictures that are kept as JPEG files."""
    pixels: int
    """Of all pictures together."""
    quantiles: dict[str, tuple[float, ...]]
    """Figure -> its quantiles at 0, 5, 25, 50, 75, 95 and 100 %; no entry where no picture has the figure."""


class MeasuredSet(Settings):
    """A data set at one revision, as it is kept for later ones."""

    name: str
    """The data set."""
    content: str
    """A sha256 over the names and contents of all pictures."""
    revision: str | None
    """The revision that params.yaml has; null where no scheduled run asked for it."""
    statistics: SetStatistics
    """Its counts and quantiles."""
    pictures: dict[str, MeasuredPicture]
    """File name -> picture."""
    undecodable: tuple[str, ...]
    """Names at the source of files that were left out."""

    @classmethod
    def of(
        cls,
        name: str,
        content: str,
        revision: str | None,
        pictures: Sequence[Picture],
        files: Sequence[FetchedFile],
        undecodable: Sequence[str] = (),
    ) -> Self:
        """The set with these pictures.

        Args:
            name: the data set.
            content: a hash of its content.
            revision: in params.yaml.
            pictures: measured.
            files: their entries in the manifest, in the same order.
            undecodable: names at the source of files that were left out.
        """
        features = [picture.features for picture in pictures]
        kept = {
            picture.name: MeasuredPicture(
                sha256=picture.sha256,
                source_name=file.source_name,
                source_sha256=file.source_sha256,
                features=picture.features,
            )
            for picture, file in zip(pictures, files, strict=True)
        }
        return cls(
            name=name,
            content=content,
            revision=revision,
            statistics=SetStatistics(
                pictures=len(features),
                undecodable=len(undecodable),
                jpegs=sum(each.jpeg_quality is not None for each in features),
                pixels=sum(each.pixels for each in features),
                quantiles={
                    figure: tuple(round(float(value), 4) for value in np.quantile(values, QUANTILES))
                    for figure in FIGURES
                    if len(values := figures(features, figure))
                },
            ),
            pictures=kept,
            undecodable=tuple(undecodable),
        )


class Drift(Settings):
    """How a data set differs from a revision of it that was measured before."""

    since: str
    """That revision; the first digits of its content's hash where it has no name."""
    pictures_before: int
    """Number of its pictures."""
    added: int
    """Pictures of names that it lacks."""
    removed: int
    """Pictures of names that are gone."""
    replaced: int
    """Pictures of names that are still there, with other contents."""
    changed: Share
    """Share of the present pictures that are added or replaced."""
    distances: dict[str, Share]
    """Figure -> two-sample Kolmogorov-Smirnov distance: the largest difference of both cumulative distributions. No
    entry where one of them has no picture with the figure."""
    significant: tuple[str, ...]
    """Figures whose distance chance would exceed in one of a hundred pairs of sets of these sizes."""

    def __str__(self) -> str:
        figures = ", ".join(f"{figure} {self.distances[figure]:.2f}" for figure in self.significant)
        return (
            f"since revision {self.since}: {self.added} pictures added, {self.removed} removed, {self.replaced} "
            f"replaced; {self.changed:.0%} changed; distributions moved: {figures or 'none'}"
        )


def drift(now: MeasuredSet, before: MeasuredSet) -> Drift:
    """How far a set is from an earlier revision."""
    common = now.pictures.keys() & before.pictures.keys()
    replaced = sum(now.pictures[name].sha256 != before.pictures[name].sha256 for name in common)
    added = len(now.pictures) - len(common)
    distances, significant = {}, []
    for figure in FIGURES:
        present, former = (figures(_features(each), figure) for each in (now, before))
        if len(present) and len(former):
            distances[figure] = round(ks_distance(present, former), 4)
            sizes = len(present), len(former)
            if distances[figure] > _CRITICAL * np.sqrt(sum(sizes) / np.prod(sizes)):
                significant.append(figure)
    return Drift(
        since=before.revision or before.content[:12],
        pictures_before=len(before.pictures),
        added=added,
        removed=len(before.pictures) - len(common),
        replaced=replaced,
        changed=round((added + replaced) / max(1, len(now.pictures)), 4),
        distances=distances,
        significant=tuple(significant),
    )


def ks_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The two-sample Kolmogorov-Smirnov distance of samples, neither of them empty: 0 to 1."""
    values = np.concatenate((first, second))
    below = [np.searchsorted(np.sort(each), values, side="right") / len(each) for each in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def figures(features: Sequence[Features], name: str) -> NDArray[np.float64]:
    """One figure of all pictures that have it."""
    values = [getattr(each, name) for each in features]
    return np.array([value for value in values if value is not None], np.float64)


def _features(measured: MeasuredSet) -> list[Features]:
    pictures: Mapping[str, MeasuredPicture] = measured.pictures
    return [picture.features for picture in pictures.values()]
