"""Results of a training: history, best weights, damaged patches, patches smaller than the stride."""

import math
import shutil
from pathlib import Path

import pytest
import torch

from components.codecs.base import Codec
from components.codecs.table import CODECS
from components.data.loader import validation_batches
from components.data.shard_reader import Shards
from components.errors import SourceError
from components.training.callback import Validation
from components.training.forward import as_float
from components.training.loop import train
from components.training.state import TrainingState
from tests.components.training.trainer import SHORT, Make, Run, Trainer, Watch, Weights, assert_same, changed

pytestmark = pytest.mark.usefixtures("one_thread")


def test_an_uninterrupted_run(straight: Run) -> None:
    weights, state = straight
    assert state.step == 12
    assert [row.step for row in state.history] == [3, 6, 9, 12]
    for row in state.history:
        assert list(row.model_dump()) == [
            *("step", "lmbda", "lr", "train_loss", "val_loss", "val_psnr_db"),
            *("val_bpp_estimated", "skipped", "diverged", "calibration_bpp"),
        ]
        assert all(isinstance(value, int | float) and math.isfinite(value) for value in row.model_dump().values())
    assert len({row.lmbda for row in state.history}) > 1, "lambda is steered"
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_a_repeated_run_is_the_same(trainer: Trainer, straight: Run) -> None:
    assert_same(trainer(), straight)


def test_another_seed_is_another_run(trainer: Trainer, straight: Run) -> None:
    assert trainer(SHORT, seed=10)[1].history != straight[1].history


def test_loss_goes_down_on_a_tiny_set(trainer: Trainer) -> None:
    watch = Watch()
    trainer(changed(SHORT, steps=40, validate_every=20, learning_rate=2e-3, validation_patches=1), watch)
    first, last = (sum(part) / 8 for part in (watch.losses[:8], watch.losses[-8:]))
    assert last < 0.8 * first


def test_the_best_validation_is_kept(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of the validations are given: the second is the lowest, and its weights are what training leaves."""
    losses = iter([0.5, 0.3, 0.7, 0.6])
    validated: list[Weights] = []

    class Snapshots(Watch):
        codec: Codec

        def on_validation(self, validation: Validation) -> None:
            super().on_validation(validation)
            validated.append({key: value.clone() for key, value in self.codec.state_dict().items()})

    watch = Snapshots()

    def prepare(codec: Codec) -> None:
        watch.codec = codec
        costs, objective = codec.distortion_and_rate, codec.objective
        given = lambda *x: costs(*x) if codec.training else (torch.tensor(next(losses)), torch.zeros(()))  # noqa: E731
        monkeypatch.setattr(codec, "distortion_and_rate", given)
        monkeypatch.setattr(
            codec, "objective", lambda d, r, lmbda: d if isinstance(d, float) else objective(d, r, lmbda)
        )

    trainer.prepare = prepare
    weights, state = trainer(changed(SHORT, validation_patches=1), watch)
    assert [row.val_loss for row in state.history] == pytest.approx([0.5, 0.3, 0.7, 0.6])
    for key, value in weights.items():
        assert torch.equal(value, validated[1][key]), key
    assert any(not torch.equal(value, validated[3][key]) for key, value in weights.items())


def test_damaged_patches_are_counted_and_too_many_are_an_error(
    make_codec: Make, tiny_shards: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(tiny_shards, tmp_path / "shards")
    index = Shards(str(own)).index().splits["train"]
    first = index.shards[0]
    with (own / first.file).open("r+b") as tar:
        for offset, _ in first.samples[:2]:
            tar.seek(offset)
            tar.write(bytes(100))
    trainer = Trainer(make_codec, own, tmp_path / "state")
    epoch = changed(SHORT, batch_size=index.samples, steps=2, validate_every=1, validation_patches=1)
    _, state = trainer(changed(epoch, max_skipped=2 / index.samples))
    assert [row.skipped for row in state.history] == [2, 4]
    assert TrainingState.load(trainer.state, "this run").skipped == 4
    said = rf"^{own}: 2 of {index.samples} patches drawn are damaged, more than max_skipped \(0\.05\) allows$"
    with pytest.raises(SourceError, match=said):
        trainer(changed(epoch, max_skipped=0.05), fingerprint="another run")


@pytest.mark.parametrize("name", CODECS)
def test_patches_that_are_smaller_than_the_stride(
    name: str, make_codec: Make, shards_of_32: Path, tmp_path: Path
) -> None:
    codec, watch = make_codec(name), Watch()
    config = changed(SHORT, batch_size=2, steps=1, validate_every=1, validation_patches=2, learning_rate=1e-9)
    state = train(
        codec, Shards(str(shards_of_32)), config, state_path=tmp_path / "state", fingerprint="f", callback=watch
    )
    assert math.isfinite(watch.losses[0])
    (row,) = state.history
    x = as_float(validation_batches(Shards(str(shards_of_32)), batch_size=2, limit=2)[0], torch.device("cpu"))
    with torch.inference_mode():
        made = codec(codec.pad(x))
    assert row.val_bpp_estimated == pytest.approx(made.bits.mean().item() / 32**2, rel=0.05)
    pairs = zip(x, made.x_hat, strict=True)
    errors = [max(1e-10, (a - b[:, :32, :32].clamp(0, 1)).square().mean().item()) for a, b in pairs]
    psnr = [-10 * math.log10(error) for error in errors]
    assert row.val_psnr_db == pytest.approx(sum(psnr) / 2, abs=0.1)
