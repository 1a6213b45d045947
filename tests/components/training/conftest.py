"""The smallest shards that every codec can be trained on."""

from pathlib import Path

import pytest

from components.files import sha256_of
from components.images.augment import Augmentation
from components.images.shards import ShardSpec, SourceImage, write_shards


@pytest.fixture(scope="session")
def shards_of_32(picture_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [SourceImage(path, sha256_of(path)) for path in picture_files]
    out = tmp_path_factory.mktemp("shards_of_32")
    write_shards(sources, ShardSpec(Augmentation(32, 0.6, 0.0, 0.0), 2, 0.7, seed=1), out, mapped=map)
    return out
