"""index.json of a set of shards: how they were made, and the byte range of every patch."""

from typing import Annotated

from pydantic import Field

from ..settings import Settings
from .shard_spec import Augmentation, LargePatches, is_null

LARGE = "large"
"""The split of larger patches."""


class Shard(Settings):
    """A tar file."""

    file: str
    """Its name."""
    samples: list[tuple[int, int]]
    """Offset and size in bytes of each patch's PNG file, in the order of the tar."""


class Split(Settings):
    """The patches of one split."""

    images: int
    """Pictures that fall into the split, those smaller than a patch included."""
    samples: int
    """Patches."""
    per_source: dict[str, int]
    """Patches of each picture, by its file name."""
    shards: list[Shard]
    """The tar files, in order."""


class Recipe(Settings):
    """The settings that the shards were made with: see `ShardSpec`."""

    augmentation: Augmentation
    """How a patch was drawn from a picture."""
    patches_per_image: int
    """Patches drawn from each picture."""
    train_share: float
    """Share of the pictures that train."""
    seed: int
    """Of the split and of the patches."""
    samples_per_shard: int
    """Patches in one tar, at the most."""
    large: Annotated[LargePatches | None, Field(exclude_if=is_null)] = None
    """The patches of the split `large`."""


class ShardIndex(Settings):
    """The whole file."""

    spec: Recipe
    """How the shards were made."""
    splits: dict[str, Split]
    """The splits `train` and `val`, and `large`: larger patches of the pictures of `train`."""

    def side(self, split: str) -> int:
        """Side in pixels of the patches of a split."""
        if split == LARGE and self.spec.large is not None:
            return self.spec.large.patch
        return self.spec.augmentation.patch
