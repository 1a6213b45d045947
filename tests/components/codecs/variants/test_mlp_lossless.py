import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from components.arrays import Rgb
from components.codecs.bitstream import parse
from components.codecs.table import build
from components.codecs.tensors import to_rgb, to_tensor
from components.codecs.variants.mlp_lossless import MlpLossless
from components.entropy.pixels import wavefront
from components.errors import BitstreamError, RatewrightError

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = {"width": 16, "head": 8, "window": 32}


@pytest.fixture(scope="module")
def trained(photograph: Rgb) -> dict[str, MlpLossless]:
    """With either coder, trained for a moment on one picture: weights are not those of the start."""
    codecs = {}
    for coder in ("range", "huffman"):
        torch.manual_seed(0)
        made = build("mlp_lossless", {"coder": coder, **SIZES})
        assert isinstance(made, MlpLossless)
        optimizer = torch.optim.Adam(made.parameters(), 5e-3)
        x = to_tensor(photograph).repeat(4, 1, 1, 1)
        made.train()
        for _ in range(80):
            optimizer.zero_grad()
            made.loss(x, made(x), 1.0).total.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        codecs[coder] = made.eval()
    return codecs


@pytest.fixture(params=["range", "huffman"])
def codec(request: pytest.FixtureRequest, trained: dict[str, MlpLossless]) -> MlpLossless:
    return trained[request.param]


def exactly(codec: MlpLossless, rgb: Rgb) -> bytes:
    """The stream of a picture, which decodes to it."""
    (stream,) = codec.compress(to_tensor(rgb))
    assert np.array_equal(to_rgb(codec.decompress([stream])), rgb)
    return stream


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (5, 7), (65, 33), (67, 260)])
def test_every_pixel_comes_back(codec: MlpLossless, size: tuple[int, int]) -> None:
    from skimage import data

    exactly(codec, np.ascontiguousarray(data.astronaut()[: size[0], 200 : 200 + size[1]]))


def test_pictures_that_nothing_predicts_come_back(codec: MlpLossless) -> None:
    random = np.random.default_rng(0)
    exactly(codec, random.integers(0, 256, (50, 40, 3), dtype=np.uint8))
    exactly(codec, (255 * random.integers(0, 2, (50, 40, 3))).astype(np.uint8))
    for value in (0, 255):
        exactly(codec, np.full((20, 30, 3), value, dtype=np.uint8))


def test_gray_pictures_take_one_plane(codec: MlpLossless, photograph: Rgb) -> None:
    gray = np.repeat(photograph[..., 1:2], 3, axis=2)
    almost = gray.copy()
    almost[3, 5, 0] ^= 1
    assert len(exactly(codec, gray)) < 0.99 * len(exactly(codec, almost))
    assert len(exactly(codec, gray)) < 0.7 * len(exactly(codec, photograph))


def test_training_lowers_the_rate_and_knows_it(codec: MlpLossless, photograph: Rgb) -> None:
    torch.manual_seed(0)
    untrained = build("mlp_lossless", {"coder": codec.coder, **SIZES}).eval()
    before, after = (8 * len(made.compress(to_tensor(photograph))[0]) for made in (untrained, codec))
    assert after < (0.95 if codec.coder == "range" else 0.98) * before
    with torch.inference_mode():
        estimated = codec(to_tensor(photograph)).bits.item()
    # A picture's own Huffman code is better than the one distribution that training has for all of them.
    assert 0.85 * estimated < after < 1.06 * estimated


def test_distributions_beat_one_code_for_all(trained: dict[str, MlpLossless], photograph: Rgb) -> None:
    sizes = {coder: len(exactly(codec, photograph)) for coder, codec in trained.items()}
    assert sizes["range"] < 0.99 * sizes["huffman"]


def test_strips_are_coded_by_themselves(codec: MlpLossless, photograph: Rgb, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = exactly(codec, photograph)
    monkeypatch.setattr(wavefront, "_STRIP", 64 * 192)
    assert list(wavefront.strips(160, 192)) == [slice(0, 64), slice(64, 128), slice(128, 160)]
    assert 1 < len(exactly(codec, photograph)) / len(whole) < 1.05


def test_hostile_streams_are_refused(codec: MlpLossless, photograph: Rgb) -> None:
    parsed = parse(codec.compress(to_tensor(photograph))[0])
    (section,) = parsed.sections
    for bad in (b"", b"\0", section[:4], section[:-1], section + b"a", section[:1] + bytes(len(section) - 1)):
        with pytest.raises(BitstreamError, match="corrupted bitstream"):
            codec.decompress([dataclasses.replace(parsed, sections=(bad,)).pack()])
    random = np.random.default_rng(0)
    for size in (1, 6, 500, 5000):
        coded = random.bytes(size)
        with pytest.raises(BitstreamError):
            codec.decompress(
                [dataclasses.replace(parsed, sections=(b"\0" + size.to_bytes(4, "little") + coded,)).pack()]
            )


def test_threads_and_layouts_change_nothing(
    codec: MlpLossless, photograph: Rgb, make_codec: Callable[..., MlpLossless]
) -> None:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        one = codec.compress(to_tensor(photograph))
    with threadpool_limits(2):
        assert codec.compress(to_tensor(photograph)) == one
    assert make_codec("mlp_lossless").compress(to_tensor(photograph)) != one


def test_other_coders_are_refused() -> None:
    with pytest.raises(RatewrightError, match="coder must be huffman or range, not 'zip'"):
        build("mlp_lossless", {"coder": "zip"})
