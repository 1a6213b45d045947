from collections.abc import Callable

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
