"""Shards with tiny patches, and a trainer on them."""

from pathlib import Path

import pytest
import torch

from components.data.shard_spec import ShardSpec
from components.data.shard_writer import SourceImage, write_shards
from components.storage.atomic import sha256_of
from tests.components.training.trainer import Make, Run, Trainer


@pytest.fixture(scope="session")
def shards_of_32(picture_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [SourceImage(path, sha256_of(path)) for path in picture_files]
    out = tmp_path_factory.mktemp("shards_of_32")
    spec = ShardSpec(
        patch=32, smallest_scale=0.6, largest_angle=0.0, rotated_share=0.0, patches_per_image=2, train_share=0.7
    )
    write_shards(sources, spec, out, seed=1, parallel_map=map)
    return out


@pytest.fixture
def trainer(make_codec: Make, tiny_shards: Path, tmp_path: Path) -> Trainer:
    return Trainer(make_codec, tiny_shards, tmp_path / "state.safetensors")


@pytest.fixture(scope="session")
def straight(make_codec: Make, tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The result of twelve uninterrupted steps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = Trainer(make_codec, tiny_shards, tmp_path_factory.mktemp("straight") / "s.safetensors")()
    torch.set_num_threads(threads)
    return run
