from collections.abc import Callable

import pytest
import torch

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.tensors import to_tensor
from components.evaluation.progressive import PREFIXES, jpeg2000_prefixes, learned_prefixes, psnr_drops

pytestmark = pytest.mark.usefixtures("one_thread")


def test_longer_prefixes_are_hardly_ever_worse(make_codec: Callable[..., Codec], photograph: Rgb) -> None:
    codec = make_codec("atc_progressive")
    with torch.no_grad():
        codec.train()(to_tensor(photograph[:128, :128]))  # so that the prior knows the scale of its latents
    shown: list[float] = []
    curve = list(learned_prefixes(codec.eval(), photograph, lambda bpp, _: shown.append(bpp)))
    assert len(curve) == PREFIXES
    assert [point.bytes for point in curve] == sorted(point.bytes for point in curve)
    assert psnr_drops(curve) <= 0.3 * PREFIXES, "of an untrained codec"
    assert (curve[-1].psnr_db or 0) > (curve[0].psnr_db or 0) + 3
    assert shown == sorted(shown)
    assert len(shown) >= 4


def test_jpeg2000_grows_by_layers(photograph: Rgb) -> None:
    curve = list(jpeg2000_prefixes(photograph))
    values = [point.psnr_db or 0 for point in curve]
    assert len(curve) > 10
    assert psnr_drops(curve) <= 2
    assert values[-1] > values[0] + 5
