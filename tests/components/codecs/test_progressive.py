"""Streams whose first bytes are streams: of every codec that says so."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.bitstream import FREE_PIXELS, PIXELS_PER_BYTE, Bitstream, byte_budget, parse
from components.codecs.coder import LearnedCoder
from components.codecs.table import CODECS, codec_class
from components.codecs.tensors import to_tensor
from components.errors import BitstreamError

pytestmark = pytest.mark.usefixtures("one_thread")
PROGRESSIVE = [name for name in CODECS if codec_class(name).progressive]
NAMES = pytest.mark.parametrize("name", PROGRESSIVE)
Make = Callable[..., Codec]


@pytest.fixture(scope="module")
def used(make_codec: Make, photograph: Rgb) -> Callable[[str], Codec]:
    """A function that makes a codec whose prior has seen a picture."""

    def make(name: str) -> Codec:
        codec = make_codec(name)
        with torch.no_grad():
            codec.train()(to_tensor(photograph[:128, :128]))
        return codec.eval()

    return make


def test_there_are_some() -> None:
    assert "atc_progressive" in PROGRESSIVE


@NAMES
@pytest.mark.parametrize("size", [(64, 80), (1, 1), (33, 7)])
def test_every_prefix_is_a_picture_or_refused(
    name: str, size: tuple[int, int], used: Callable[[str], Codec], photograph: Rgb
) -> None:
    codec = used(name)
    rgb = photograph[40 : 40 + size[0], 30 : 30 + size[1]]
    (stream,) = codec.compress(to_tensor(rgb))
    header = len(stream) - len(parse(stream).sections[0])
    for length in range(len(stream)):
        if length < header:
            with pytest.raises(BitstreamError, match=r"truncated|not a Ratewright"):
                codec.decompress([stream[:length]])
            continue
        parsed = parse(stream[:length])
        assert not parsed.checksum_verified
        assert (parsed.full_length, len(parsed.sections[0])) == (len(stream) - header, length - header)
        if length % 5 == 0 or length == header:
            x_hat = codec.decompress([stream[:length]])
            assert x_hat.shape == (1, 3, *size)
            assert 0 <= x_hat.min() <= x_hat.max() <= 1


@NAMES
def test_a_cut_file_is_a_prefix_with_a_checksum(name: str, used: Callable[[str], Codec], photograph: Rgb) -> None:
    codec = used(name)
    (stream,) = codec.compress(to_tensor(photograph))
    whole = parse(stream)
    header = len(stream) - len(whole.sections[0])
    for size in (header, header + 1, 300, len(stream) - 1, len(stream), len(stream) + 100):
        cut = whole.truncate(size)
        assert len(cut) == min(size, len(stream))
        assert parse(cut).checksum_verified
        assert torch.equal(codec.unpack(cut), codec.unpack(stream[: len(cut)])), "as if it had broken off there"
        if size >= 300:
            assert parse(cut).truncate(200) == whole.truncate(200), "cutting twice is cutting once"
    with pytest.raises(BitstreamError, match="are too few for a picture"):
        whole.truncate(header - 1)
    bad = bytearray(whole.truncate(300))
    bad[-1] ^= 4
    with pytest.raises(BitstreamError, match="checksum"):
        codec.decompress([bytes(bad)])


@NAMES
def test_mutated_streams_give_a_picture_or_are_refused(
    name: str, used: Callable[[str], Codec], photograph: Rgb
) -> None:
    """Where they broke off no checksum helps; with right checksums, whatever the section says."""
    codec, random = used(name), np.random.default_rng(0)
    (stream,) = codec.compress(to_tensor(photograph[:64, :64]))
    whole = parse(stream)
    pictures = 0
    for _ in range(60):
        bad = bytearray(stream[: random.integers(60, len(stream))])
        for at in random.integers(0, len(bad), random.integers(1, 4)):
            bad[at] ^= random.integers(1, 256)
        section = random.bytes(int(random.integers(0, 600)))
        for data in (bytes(bad), dataclasses.replace(whole, sections=(section,)).pack()):
            try:
                x_hat = codec.decompress([data])
            except BitstreamError:
                continue
            pictures += 1
            assert x_hat.shape == (1, 3, 64, 64)
            assert torch.isfinite(x_hat).all()
    assert pictures > 20


@NAMES
@pytest.mark.parametrize("bpp", [0.05, 0.1, 0.3])
def test_a_rate_is_met_to_the_byte(name: str, bpp: float, used: Callable[[str], Codec], photograph: Rgb) -> None:
    coder = LearnedCoder(used(name), bpp=bpp)
    data = coder.encode(photograph)
    assert len(data) == byte_budget(bpp, photograph.shape)
    assert coder.decode(data).shape == photograph.shape


@NAMES
def test_a_rate_beyond_all_planes_is_met_from_below(name: str, used: Callable[[str], Codec], photograph: Rgb) -> None:
    data = LearnedCoder(used(name), bpp=24.0).encode(photograph)
    assert len(data) < byte_budget(24.0, photograph.shape)
    assert parse(data).full_length == len(parse(data).sections[0])


def test_only_progressive_streams_are_cut(make_codec: Make, photograph: Rgb) -> None:
    (stream,) = make_codec("haar_hyper").compress(to_tensor(photograph[:64, :64]))
    with pytest.raises(BitstreamError, match="'haar_hyper' is not progressive"):
        parse(stream).truncate(100)


def test_a_large_picture_needs_some_bytes() -> None:
    """So that a header alone makes nobody allocate one."""
    side = 4096
    floor = (side * side - FREE_PIXELS) // PIXELS_PER_BYTE
    stream = Bitstream("atc_progressive", bytes(8), side, side, (bytes(20_000),), 20_000)
    header = len(stream.pack()) - 20_000
    assert parse(stream.pack()[: header + floor]).sections == (bytes(floor),)
    with pytest.raises(BitstreamError, match="truncated"):
        parse(stream.pack()[: header + floor - 1])
    with pytest.raises(BitstreamError, match=f"smallest stream has {header + floor}"):
        stream.truncate(header + floor - 1)
