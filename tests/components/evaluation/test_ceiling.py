from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import Coder, LearnedCoder
from components.codecs.families.transform import TransformCodec
from components.codecs.table import CODECS, build
from components.codecs.tensors import to_rgb, to_tensor
from components.evaluation.ceiling import ceiling_db, ceilings_db
from components.metrics.quality import psnr_db
from tests.components.evaluation.coders import Zip

Make = Callable[..., Codec]

NOT_TRANSFORM_CODECS = {"cnn_rnn_ae": "its rounds code what quantisation left", "mlp_lossless": "nothing is lost"}


@pytest.fixture
def codec(make_codec: Make) -> TransformCodec:
    """An untrained haar_hyper: a cosine transform of 16x16 blocks that keeps 32 of 768 waves."""
    codec = make_codec("haar_hyper")
    assert isinstance(codec, TransformCodec)
    return codec


def psnr_at(codec: Codec, gain: float, rgb: Rgb) -> float:
    coder = LearnedCoder(codec, gain)
    psnr = psnr_db(rgb, coder.decode(coder.encode(rgb)))
    assert psnr is not None
    return psnr


def test_finer_steps_come_to_the_ceiling(codec: TransformCodec, photograph: Rgb) -> None:
    rgb = photograph[:131, :150]  # no multiple of the stride
    ceiling = ceiling_db(codec, rgb)
    assert ceiling is not None
    coarse, fine = psnr_at(codec, 0.2, rgb), psnr_at(codec, 30.0, rgb)
    assert coarse < ceiling - 1
    assert fine == pytest.approx(ceiling, abs=0.05)
    codec.gain.fill_(0.2)
    assert ceiling_db(codec, rgb) == ceiling, "a gain does not move it"


def test_more_latents_raise_it(codec: TransformCodec, photograph: Rgb) -> None:
    wider = build("haar_hyper", {**codec.hyperparameters, "M": 128}).eval()
    assert isinstance(wider, TransformCodec)
    narrow, wide = ceiling_db(codec, photograph), ceiling_db(wider, photograph)
    assert narrow is not None
    assert wide is not None
    assert wide > narrow + 3
    assert ceiling_db(codec, np.full_like(photograph, 90)) is None, "a flat picture needs the lowest waves alone"


def test_a_large_picture_goes_in_tiles(codec: TransformCodec, photograph: Rgb, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.tile(photograph, (3, 3, 1))
    x = codec.pad(to_tensor(rgb))
    with torch.inference_mode():
        x_hat = codec.synthesise(codec.analyse(x))[..., : rgb.shape[0], : rgb.shape[1]]
    whole = psnr_db(rgb, to_rgb(x_hat))
    assert ceiling_db(codec, rgb) == pytest.approx(whole, abs=1e-4)
    sides: list[int] = []
    analyse = codec.analyse

    def seen(piece: Tensor) -> Tensor:
        sides.append(max(piece.shape[-2:]))
        return analyse(piece)

    monkeypatch.setattr(codec, "analyse", seen)
    monkeypatch.setattr(type(codec), "tile", 128)
    monkeypatch.setattr(type(codec), "halo", 64)
    assert ceiling_db(codec, rgb) == pytest.approx(whole, abs=1e-3)
    assert len(sides) == 4 * 5
    assert max(sides) == 128 + 2 * 2 * 64


@pytest.mark.parametrize("name", CODECS)
def test_which_codecs_have_one(name: str, make_codec: Make, photograph: Rgb) -> None:
    found = ceilings_db(LearnedCoder(make_codec(name)), [("face", photograph), ("corner", photograph[:40, :50])])
    if name in NOT_TRANSFORM_CODECS:
        assert found is None, NOT_TRANSFORM_CODECS[name]
    else:
        assert found is not None
        assert list(found) == ["face", "corner"]


def test_a_classic_codec_has_none(photograph: Rgb) -> None:
    coder: Coder = Zip()
    assert ceilings_db(coder, [("face", photograph)]) is None
