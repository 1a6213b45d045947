from collections.abc import Callable

import numpy as np
import pytest
import torch

from components.arrays import Rgb
from components.codecs import bitstream
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.errors import BitstreamError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_parsed_stream_is_decoded_without_parsing_again(
    make_codec: Callable[..., Codec], photograph: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = make_codec("wcae")
    coder = LearnedCoder(codec)
    data = coder.encode(photograph)
    expected, latents, stream = coder.decode(data), codec.unpack(data), bitstream.parse(data)
    monkeypatch.delattr(bitstream, "parse")
    assert np.array_equal(coder.decode(stream), expected)
    assert torch.equal(codec.unpack(stream), latents)


def test_a_parsed_stream_of_another_model_is_refused(make_codec: Callable[..., Codec], photograph: Rgb) -> None:
    stream = bitstream.parse(LearnedCoder(make_codec("wcae")).encode(photograph))
    with pytest.raises(BitstreamError, match="written by model"):
        LearnedCoder(make_codec("wcae", seed=1)).decode(stream)
