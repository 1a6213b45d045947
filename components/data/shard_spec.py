"""How training pictures are cut into patches and written as shards: the section `shards` of params.yaml."""

from typing import Annotated

from pydantic import Field

from ..settings import PositiveInt, Settings, Share


def is_null(value: object) -> bool:
    """Whether a field is left out of files, which stay as they were before there was the option."""
    return value is None


class Augmentation(Settings):
    """How a patch is drawn from a picture."""

    patch: PositiveInt
    """Side of a patch in pixels."""
    smallest_scale: Annotated[float, Field(gt=0, le=1)]
    """Pictures are scaled by a factor from this to 1, by area averaging. What is drawn is the side of the square that
    becomes a patch, each with the same probability."""
    largest_side: Annotated[PositiveInt | None, Field(exclude_if=is_null)] = None
    """Shorter side in pixels of the largest pictures that patches are cut from: the factor of a larger picture is drawn
    below the one that makes it so small. Null for no limit."""
    largest_angle: Annotated[float, Field(ge=0, le=180)]
    """Degrees; pictures are rotated by up to this much either way."""
    rotated_share: Share
    """Share of the patches that are rotated; rotation interpolates, and so blurs a little. A picture too small for
    rotated patches gives upright ones."""


class LargePatches(Settings):
    """A second set of training patches, of which `train.large_patches` makes use."""

    patch: PositiveInt
    """Side of a patch in pixels."""
    patches_per_image: PositiveInt
    """Patches drawn from each picture that trains; those smaller than a patch give none."""


class ShardSpec(Augmentation):
    """How training pictures are cut into patches and split."""

    patches_per_image: PositiveInt
    """Patches drawn from each picture."""
    train_share: Share
    """Share of the pictures that train, the rest validates."""
    large: Annotated[LargePatches | None, Field(exclude_if=is_null)] = None
    """Larger patches for the last part of trainings; null for none."""
