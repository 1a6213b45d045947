"""Files of Ray trainings in their storage: what is copied there, and what goes with a training; without a cluster."""

from dataclasses import replace
from pathlib import Path

from components.data.shard_reader import Shards
from components.training.config import TrainingConfig
from components.training.job import TrainingJob
from components.training.launchers.ray import RayLauncher
from components.training.resources import Resources
from components.training.state import TrainingState


def test_the_end_of_a_training_takes_no_file_from_another(tiny_shards: Path, tmp_path: Path) -> None:
    """Two fine-tunes start from one checkpoint and need the same weights; the first ends while the second trains."""
    start, weights = tmp_path / "trained.safetensors", tmp_path / "vgg19.pth"
    start.write_bytes(b"a checkpoint")
    weights.write_bytes(b"weights")
    storage = tmp_path / "storage"
    launcher = RayLauncher(None, Resources(), str(storage))
    first = TrainingJob(
        "first",
        "fingerprint-1",
        "wcae",
        {},
        TrainingConfig(steps=1, learning_rate=1e-3),
        Shards(str(tiny_shards)),
        "/nowhere",
        weights={"vgg19": str(weights)},
        start=str(start),
    )
    second = replace(first, name="second", fingerprint="fingerprint-2")
    own, other = (launcher._uploaded(job) for job in (first, second))
    for job in (own, other):
        TrainingState(job.fingerprint, 1).save(job.state)
    before = {path for path in storage.rglob("*") if path.is_file()}
    launcher.remove_state(first)
    assert other.start is not None
    assert Path(other.start).read_bytes() == b"a checkpoint"
    assert Path(other.weights["vgg19"]).read_bytes() == b"weights"
    assert Path(other.state).is_file()
    assert Path(other.shards.location, "index.json").is_file()
    assert before - {path for path in storage.rglob("*") if path.is_file()} == {Path(own.state), Path(own.start or "")}
    launcher.remove_state(second)
    assert list((storage / "states").iterdir()) == []
