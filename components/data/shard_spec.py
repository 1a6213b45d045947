"""How training pictures are cut into patches and written as shards: the section `shards` of params.yaml."""

from typing import Annotated

from pydantic import Field

from ..settings import PositiveInt, Settings, Share


class Augmentation(Settings):
    """How a patch is drawn from a picture."""

    patch: PositiveInt
    """Side of a patch in pixels."""
    smallest_scale: Annotated[float, Field(gt=0, le=1)]
    """Pictures are scaled by a factor from this to 1, by area averaging."""
    largest_angle: Annotated[float, Field(ge=0, le=180)]
    """Degrees; pictures are rotated by up to this much either way."""
    rotated_share: Share
    """Share of the patches that are rotated; rotation interpolates, and so blurs a little."""


class ShardSpec(Augmentation):
    """How training pictures are cut into patches and split."""

    patches_per_image: PositiveInt
    """Patches drawn from each picture."""
    train_share: Share
    """Share of the pictures that train, the rest validates."""
