from collections.abc import Callable
from weakref import WeakSet

import pytest
from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.rate.real_rate import rate_function

Make = Callable[..., Codec]


def test_the_rate_function_is_that_of_real_files(make_codec: Make, photographs: list[Rgb]) -> None:
    codec = make_codec("nowcae")
    pixels = sum(rgb[..., 0].size for rgb in photographs)
    rate = rate_function(codec, iter(photographs))
    for gain in (0.3, 1.0, 3.0):
        files = [LearnedCoder(codec, gain).encode(rgb) for rgb in photographs]
        assert rate(gain) == 8 * sum(map(len, files)) / pixels
    assert rate(0.3) < rate(1.0) < rate(3.0)
    assert codec.gain.item() == 1.0, "measuring moves nothing"


def test_latents_do_not_stay_in_memory(
    make_codec: Make, photographs: list[Rgb], monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, alive = make_codec("nowcae"), WeakSet[Tensor]()
    latents = codec.latents

    def counted(x: Tensor) -> Tensor:
        found = latents(x)
        alive.add(found)
        assert len(alive) <= 2
        return found

    monkeypatch.setattr(codec, "latents", counted)
    rate = rate_function(codec, photographs)
    assert rate(1.0) == rate(1.0) > 0
    assert not alive
