"""A training whose last part is on large patches."""

from pathlib import Path
from typing import Any

import pytest
import torch

from components.data.shard_spec import LargePatches, ShardSpec
from components.data.shard_writer import SourceImage, write_shards
from components.errors import SourceError
from components.storage.atomic import sha256_of
from components.training import forward
from components.training.config import TrainingConfig
from components.training.interrupt import Interrupted
from tests.components.training.trainer import SHORT, Make, Run, Trainer, Watch, assert_same, changed, interrupt

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = changed(SHORT, large_patches=0.25)
"""Nine steps of 64x64 patches, and three of 96x96."""


@pytest.fixture(scope="module")
def shards(picture_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [SourceImage(path, sha256_of(path)) for path in picture_files]
    spec = ShardSpec(
        patch=64,
        smallest_scale=0.6,
        largest_angle=45.0,
        rotated_share=0.3,
        patches_per_image=5,
        train_share=0.7,
        large=LargePatches(patch=96, patches_per_image=2),
    )
    out = tmp_path_factory.mktemp("shards")
    write_shards(sources, spec, out, seed=1, parallel_map=map, samples_per_shard=7)
    return out


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The side of the patches of each step."""
    seen: list[int] = []
    as_float = forward.as_float

    def watched(patches: torch.Tensor, device: torch.device) -> torch.Tensor:
        seen.append(patches.shape[-1])
        return as_float(patches, device)

    monkeypatch.setattr("components.training.run.as_float", watched)
    return seen


@pytest.mark.parametrize("workers", [0, 1])
def test_the_last_quarter_is_on_large_patches(
    workers: int, make_codec: Make, shards: Path, tmp_path: Path, sides: list[int]
) -> None:
    Trainer(make_codec, shards, tmp_path / "state")(changed(CONFIG, workers=workers))
    assert sides == [64] * 9 + [96] * 3


@pytest.mark.parametrize("stop", [5, 9, 11])
def test_it_resumes_bit_for_bit(stop: int, make_codec: Make, shards: Path, tmp_path: Path, sides: list[int]) -> None:
    straight = Trainer(make_codec, shards, tmp_path / "straight")(CONFIG)
    trainer = Trainer(make_codec, shards, tmp_path / "state")
    with pytest.raises(Interrupted):
        trainer(CONFIG, Watch(stop, interrupt))
    assert_same(trainer(CONFIG), straight)
    assert sides == 2 * ([64] * 9 + [96] * 3)


def test_without_it_large_patches_in_the_shards_change_nothing(
    make_codec: Make, shards: Path, tmp_path: Path, straight: Run
) -> None:
    assert_same(Trainer(make_codec, shards, tmp_path / "state")(), straight)


def test_an_option_that_is_off_leaves_no_trace() -> None:
    """The fingerprints of trainings are made of this."""
    assert "large_patches" not in SHORT.model_dump()
    fields: dict[str, Any] = {"learning_rate": 1e-3, "steps": 1, "large_patches": 0.5}
    assert TrainingConfig(**fields).model_dump()["large_patches"] == 0.5


def test_missing_large_patches_are_told_before_the_first_step(trainer: Trainer) -> None:
    watch = Watch()
    with pytest.raises(SourceError, match="no large patches"):
        trainer(CONFIG, watch)
    assert watch.steps == []
