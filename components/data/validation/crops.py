"""Pictures that show a part of another one: scaled, turned, mirrored or cropped.

The features of all known pictures and of their mirror images lie in one matrix. A picture's features are compared with
it in one product; pictures that several features vote for are aligned, and their pixels compared.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .alignment import Agreement, Grey, agreement, similarity
from .local_features import LocalFeatures

CANDIDATES = 8
"""Known pictures whose pixels are compared with one picture's, at the most: those with the most votes."""
MOST_FEATURES = 1 << 18
"""Features of all known pictures and their mirror images together: 128 MB. Of more, the strongest of each are kept."""

_MIN_VOTES = 5
_RATIO = 0.85  # of the distances to the matched feature and to the nearest one of an unrelated picture
_RIVALS = 3  # pictures that may show the same; the next nearest counts as unrelated
_MAX_DISTANCE = 0.75  # of features, where few pictures are known and none is unrelated


@dataclass(frozen=True)
class Known:
    """A picture to look for."""

    features: LocalFeatures
    """Its features."""
    width: int
    """Of the grey picture that they were found in, in pixels."""


@dataclass(frozen=True)
class Match:
    """A known picture that another one shows."""

    place: int
    """In the sequence of known pictures."""
    mirrored: bool
    """Whether its mirror image is shown."""
    agreement: Agreement
    """Of the pixels."""


class CropFinder:
    """Finds known pictures in others.

    Args:
        known: the pictures to look for.
        grey: the grey picture in which the features of a known one were found, by its place.
    """

    def __init__(self, known: Sequence[Known], grey: Callable[[int], Grey]) -> None:
        self._grey = grey
        each_has = MOST_FEATURES // (2 * max(1, len(known)))
        kept = [each.features.strongest(each_has) for each in known]
        self._features = kept + [own.mirrored(each.width) for own, each in zip(kept, known, strict=True)]
        self._count = len(known)
        sizes = [len(each.points) for each in self._features]
        self._filled = [place for place, size in enumerate(sizes) if size]
        self._starts = np.concatenate([[0], np.cumsum([sizes[place] for place in self._filled])]).astype(np.int64)
        empty = np.zeros((0, 128), np.float32)
        self._matrix = np.concatenate([empty, *(self._features[place].unit() for place in self._filled)]).T.copy()

    def search(self, features: LocalFeatures, grey: Callable[[], Grey]) -> list[Match]:
        """The known pictures of which another one shows a part.

        Args:
            features: of the other picture.
            grey: it gives the grey picture that they were found in, and is called if anything is alike.
        """
        found: dict[int, Match] = {}
        for place, mine, theirs in self._votes(features):
            transform = similarity(features.points[mine], self._features[place].points[theirs])
            known, mirrored = place % self._count, place >= self._count
            if transform is None or known in found:
                continue
            target = self._grey(known)
            target = cv2.flip(target, 1) if mirrored else target
            agreed = agreement(grey(), target, transform)
            if agreed is not None and agreed.is_same:
                found[known] = Match(known, mirrored, agreed)
        return list(found.values())

    def _votes(self, features: LocalFeatures) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Pictures of the matrix with most votes first: their places, and the numbers of the features that match."""
        if not self._filled or not len(features.points):
            return
        products = features.unit() @ self._matrix
        nearest = np.maximum.reduceat(products, self._starts[:-1], axis=1)  # (features, pictures)
        voted = nearest >= self._threshold(nearest)[:, None]
        votes = voted.sum(axis=0)
        for column in np.argsort(-votes, kind="stable")[:CANDIDATES]:
            if votes[column] < _MIN_VOTES:
                return
            mine = np.nonzero(voted[:, column])[0]
            theirs = products[mine, self._starts[column] : self._starts[column + 1]].argmax(axis=1)
            yield self._filled[column], mine, theirs

    def _threshold(self, nearest: NDArray[np.float32]) -> NDArray[np.float32]:
        """The least product of each feature with one that it matches."""
        pictures = np.full((len(nearest), self._count), -1, np.float32)
        for column, place in enumerate(self._filled):  # a picture and its mirror image are no rivals
            known = place % self._count
            pictures[:, known] = np.maximum(pictures[:, known], nearest[:, column])
        rival = np.full(len(nearest), -1, np.float32)
        if self._count > _RIVALS:
            rival = -np.partition(-pictures, _RIVALS, axis=1)[:, _RIVALS]
        # Unit vectors at the distance d have the product 1 - d * d / 2.
        distance = np.minimum(_RATIO * np.sqrt(np.maximum(2 - 2 * rival, 0)), _MAX_DISTANCE)
        return np.asarray(1 - distance * distance / 2, np.float32)
