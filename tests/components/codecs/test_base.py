"""What `Codec` does for every codec, tested on two of them: padding, batches, refusals and the model hash."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.bitstream import FREE_PIXELS, MAX_SIDE, PIXELS_PER_BYTE, parse
from components.codecs.table import CODECS
from components.codecs.tensors import to_tensor
from components.errors import BitstreamError

pytestmark = pytest.mark.usefixtures("one_thread")
SHARED = pytest.mark.parametrize("name", ["wcae", "haar_hyper"])
"""A codec with a Gaussian for each channel, and one with a hyperprior."""
Make = Callable[..., Codec]


@pytest.fixture(scope="module")
def x(photograph: Rgb) -> Tensor:
    return to_tensor(photograph)


@SHARED
def test_a_batch_is_its_pictures(name: str, make_codec: Make, x: Tensor) -> None:
    codec = make_codec(name)
    batch = torch.cat([x[..., 32 * k : 32 * k + 33, 8 * k : 8 * k + 65] for k in range(3)])
    streams = codec.compress(batch)
    assert len(streams) == 3
    assert streams == [codec.compress(one)[0] for one in torch.split(batch, 1)]
    decoded = codec.decompress(streams)
    assert decoded.shape == batch.shape
    torch.testing.assert_close(decoded, torch.cat([codec.decompress([s]) for s in streams]))


@SHARED
def test_a_loaded_checkpoint_decodes_the_same_latents(name: str, make_codec: Make, x: Tensor, tmp_path: Path) -> None:
    codec = make_codec(name)
    codec.train()(x[..., :128, :128])  # what training leaves in buffers is no longer zeros
    codec.eval()
    (stream,) = codec.compress(x)
    checkpoint.save(codec, tmp_path / "c.safetensors")
    loaded, _ = checkpoint.load(tmp_path / "c.safetensors")
    assert torch.equal(loaded.unpack(stream), codec.unpack(stream))


@pytest.mark.parametrize("name", ["wcae", "atc_progressive"])
def test_every_corruption_and_truncation_of_a_stream_is_refused(name: str, make_codec: Make, x: Tensor) -> None:
    codec = make_codec(name)
    (stream,) = codec.compress(x[..., :40, :40])
    for length in range(0, 20 if codec.progressive else len(stream), 7):
        with pytest.raises(BitstreamError):
            codec.decompress([stream[:length]])
    for at in range(0, len(stream), 5):
        bad = bytearray(stream)
        bad[at] ^= 1 << (at % 8)
        with pytest.raises(BitstreamError):
            codec.decompress([bytes(bad)])


@pytest.fixture
def without_network(make_codec: Make, monkeypatch: pytest.MonkeyPatch) -> Codec:
    """A codec of which no part may run."""
    codec = make_codec("haar_hyper")
    for part in ("analyse", "encode", "decode", "synthesise"):
        monkeypatch.setattr(codec, part, lambda *_, part=part: pytest.fail(f"{part} runs"))
    return codec


@pytest.mark.parametrize("size", [(1, MAX_SIDE + 1), (MAX_SIDE + 1, 1)])
def test_a_picture_too_large_for_a_stream_is_refused_before_a_network_runs(
    size: tuple[int, int], without_network: Codec
) -> None:
    with pytest.raises(BitstreamError, match="each side must be from 1 to 65536 pixels"):
        without_network.compress(torch.zeros(1, 3, *size))


def test_a_header_that_claims_too_much_is_refused_before_a_network_runs(
    make_codec: Make, without_network: Codec
) -> None:
    """Of all streams of a batch. The checksums are right, and the payload is that of a small picture."""
    (good,) = make_codec("haar_hyper").compress(torch.zeros(1, 3, 16, 16))
    parsed = parse(good)
    large = replace(parsed, width=8192, height=8192).pack()
    header = large[: len(large) - (8192 * 8192 - FREE_PIXELS) // PIXELS_PER_BYTE - 8]
    payload = b"".join(parsed.sections)
    header += struct.pack("<I", zlib.crc32(payload))
    hostile = header + struct.pack("<I", zlib.crc32(header)) + payload
    with pytest.raises(BitstreamError, match="the payload is shorter than the header says"):
        without_network.decompress([good, hostile])


@SHARED
def test_another_model_or_codec_is_refused(name: str, make_codec: Make, x: Tensor) -> None:
    (stream,) = make_codec(name, seed=0).compress(x[..., :40, :40])
    with pytest.raises(BitstreamError, match=r"written by model [0-9a-f]{16}, not [0-9a-f]{16}"):
        make_codec(name, seed=1).decompress([stream])
    other = next(known for known in CODECS if known != name)
    with pytest.raises(BitstreamError, match=f"written by codec '{name}', not '{other}'"):
        make_codec(other).decompress([stream])


@SHARED
def test_the_hash_names_the_weights_and_not_the_gain(name: str, make_codec: Make) -> None:
    codec = make_codec(name)
    first = codec.model_hash()
    assert len(first) == 8
    assert make_codec(name).model_hash() == first
    codec.gain.fill_(2.5)
    assert codec.model_hash() == first
    for tensor in (next(iter(codec.parameters())), *(b for key, b in codec.state_dict().items() if "entropy" in key)):
        before = codec.model_hash()
        with torch.no_grad():
            tensor.view(-1)[0] += 1
        assert codec.model_hash() != before
    assert make_codec(name, seed=1).model_hash() != first


@SHARED
def test_the_hash_follows_training_and_loading(name: str, make_codec: Make, x: Tensor) -> None:
    codec, other = make_codec(name), make_codec(name, seed=1)
    hashes = [codec.model_hash()]
    for fused in (False, True):
        optimizer = torch.optim.Adam(codec.parameters(), 1e-3, fused=fused)
        codec.train()
        codec.loss(x[..., :64, :64], codec(x[..., :64, :64]), 0.01).total.backward()  # type: ignore[no-untyped-call]
        for buffer in codec.buffers():
            assert not buffer.requires_grad
        optimizer.step()
        fresh = make_codec(name)
        fresh.load_state_dict(codec.state_dict())
        assert codec.model_hash() == fresh.model_hash(), f"a stale hash after Adam, fused={fused}"
        hashes.append(codec.model_hash())
    codec.load_state_dict(other.state_dict())
    assert codec.model_hash() == other.model_hash()
    assert len({*hashes, other.model_hash()}) == 4


@SHARED
def test_channels_last_is_the_same_model(name: str, make_codec: Make) -> None:
    codec = make_codec(name)
    before = codec.model_hash()
    assert codec.to(memory_format=torch.channels_last).model_hash() == before  # type: ignore[call-overload]


@pytest.mark.parametrize("name", ["wcae", "mlp_lossless"])
def test_pad_replicates_the_edge(name: str, make_codec: Make, x: Tensor) -> None:
    codec = make_codec(name)
    if codec.stride == 1:
        assert torch.equal(codec.pad(x[..., :5, :3]), x[..., :5, :3])
        return
    padded = codec.pad(x[..., :5, :3])
    assert padded.shape[-2:] == (codec.stride, codec.stride)
    assert torch.equal(padded[..., :5, :3], x[..., :5, :3])
    assert torch.equal(padded[..., 4:, :3], x[..., 4:5, :3].expand(-1, -1, codec.stride - 4, -1))
    assert torch.equal(padded[..., 2:], padded[..., 2:3].expand(-1, -1, -1, codec.stride - 2))
    whole = x[..., : 2 * codec.stride, : codec.stride]
    assert torch.equal(codec.pad(whole), whole)
