"""What each codec does in its own way. test_base.py has what `Codec` does for all of them."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.bitstream import parse
from components.codecs.families.gaussian_autoencoder import GaussianAutoencoder
from components.codecs.table import CODECS
from components.codecs.tensors import to_rgb, to_tensor
from components.codecs.variants.cnn_rnn_ae import CnnRnnAe
from components.entropy.hyperprior import HyperPrior
from components.errors import BitstreamError

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = pytest.mark.parametrize("name", CODECS)
Make = Callable[..., Codec]


@pytest.fixture(scope="module")
def x(photograph: Rgb) -> Tensor:
    return to_tensor(photograph)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, size) for name in CODECS for size in ((1, 1), (33, 65))),
        *(("wcae", size) for size in ((7, 3), (256, 256), (32, 32), (31, 96))),
    ],
)
def test_every_size_works(name: str, size: tuple[int, int], make_codec: Make) -> None:
    from skimage import data

    codec = make_codec(name)
    x = to_tensor(data.astronaut()[: size[0], 200 : 200 + size[1]])
    (stream,) = codec.compress(x)
    x_hat = codec.decompress([stream])
    assert x_hat.shape == x.shape
    assert x_hat.dtype == torch.float32
    assert 0 <= x_hat.min() <= x_hat.max() <= 1
    if codec.rate_parameter is None:
        assert np.array_equal(to_rgb(x_hat), to_rgb(x)), "nothing is lost"
    parsed = parse(stream)
    assert (parsed.codec, parsed.height, parsed.width) == (name, *size)
    assert parsed.model_hash == codec.model_hash()


@NAMES
def test_decompress_gives_what_forward_gives(name: str, make_codec: Make, x: Tensor) -> None:
    """With the gain at 1, training's evaluation and the real files are the same picture."""
    codec = make_codec(name)
    (stream,) = codec.compress(x)
    with torch.inference_mode():
        reconstruction = codec(codec.pad(x))
    assert len(set(codec.unpack(stream).flatten().tolist())) > 4, "the code of this test says something"
    expected = reconstruction.x_hat[..., : x.shape[2], : x.shape[3]].clamp(0, 1)
    torch.testing.assert_close(codec.decompress([stream]), expected, rtol=0, atol=1e-5)


@NAMES
def test_forward_bits_foretell_the_file(name: str, make_codec: Make) -> None:
    from skimage import data

    codec = make_codec(name)
    torch.manual_seed(0)  # the noise of six steps moves what they reach by a tenth
    x = to_tensor(data.astronaut())
    with torch.no_grad():
        codec.train()(x)  # a prior that knows the scale of its latents
    prior = [part for key, part in codec.named_parameters() if key.startswith(("entropy", "prior"))]
    if prior:  # and something of their density, or files do better with the table of another scale
        optimizer = torch.optim.Adam(prior, 0.03)
        for _ in range(6):
            optimizer.zero_grad()
            codec(x[..., :128, 192:320]).bits.sum().backward()
            optimizer.step()
    with torch.no_grad():
        estimated = codec.eval()(x).bits.item()
    real = 8 * len(codec.compress(x)[0])
    assert 0.8 * estimated < real < 1.1 * estimated + 8 * 400, "files may choose better tables than the estimate's"


@NAMES
def test_bits_are_told_where_they_are_spent(name: str, make_codec: Make, x: Tensor) -> None:
    """A picture that is flat but for its upper right quarter, and a map that says so."""
    codec = make_codec(name)
    if codec.rate_parameter is None:
        pytest.skip("of lossless codecs no maps are drawn")
    if codec.operating_points:
        pytest.skip("its tables tell values apart by what was counted: test_levels has its own")
    with torch.no_grad():
        codec.train()(x[..., :128, :128])  # a prior that knows the scale of its latents
    codec.eval()
    picture = torch.full((1, 3, 256, 256), 0.5)
    picture[..., :128, 128:] = x[..., :128, :128]
    bits = codec.latent_maps(picture)["bits"]
    side = 128 // codec.latent_stride
    assert bits.shape == (2 * side, 2 * side)
    upper_left, busy, *lower = (part.mean().item() for half in bits.chunk(2) for part in half.chunk(2, dim=1))
    flat = (upper_left, *lower)
    assert min(abs(busy - each) for each in flat) > 3 * (max(flat) - min(flat))


@NAMES
def test_training_in_batches_sees_the_same_code(name: str, make_codec: Make, x: Tensor) -> None:
    """Batch 1 against batch 4: the code's values agree to rounding, and each image counts its own bits."""
    codec = make_codec(name)
    with torch.no_grad():
        codec.train()(x[..., :128, :128])  # a prior that tells values apart
    codec.eval()
    batch = torch.cat([x[..., 16 * k : 16 * k + 64, 8 * k : 8 * k + 64] for k in range(4)])
    with torch.inference_mode():
        latents = codec.analyse(batch)
        alone = torch.cat([codec.analyse(one) for one in torch.split(batch, 1)])
        bits = codec(batch).bits
    torch.testing.assert_close(latents, alone, rtol=1e-4, atol=1e-4)
    assert bits.shape == (4,)
    assert len(set(bits.tolist())) > 2


@NAMES
def test_hostile_sections_with_right_checksums(name: str, make_codec: Make, x: Tensor) -> None:
    codec = make_codec(name)
    parsed = parse(codec.compress(x[..., :40, :40])[0])
    (whole,) = parsed.sections
    if codec.rate_parameter is None:  # there is no gain in its stream
        for more in ((), (whole[:1],), (whole, b"")):
            with pytest.raises(BitstreamError):
                codec.decompress([dataclasses.replace(parsed, sections=more).pack()])
        return
    if codec.progressive:  # whatever is cut off or added, it has one section: any bytes mean something
        hostile = dataclasses.replace(parsed, sections=(b"\xff\x7f" + bytes(40),))
        with pytest.raises(BitstreamError, match="the gain is"):
            codec.decompress([hostile.pack()])
        for more in ((), (whole, b"")):
            with pytest.raises(BitstreamError, match="one section"):
                codec.decompress([dataclasses.replace(parsed, sections=more, full_length=None).pack()])
        return
    for sections, said in (
        ((), "one section"),
        ((whole[:1],), "one section"),
        ((whole, b""), "no palette|whole words" if codec.palettes else "one section"),
        ((whole, b"", b""), "one section"),
        ((whole + b"a",), "whole words"),
        ((BAD_GAIN.get(name, b"\xff\x7f") + bytes(40),), "the gain is"),
    ):
        with pytest.raises(BitstreamError, match=said):
            codec.decompress([dataclasses.replace(parsed, sections=sections).pack()])


BAD_GAIN = {"wcae": b"\0\0\xc0\x7f", "nowcae": b"\0\0\x80\xbf"}  # not a number, less than zero


@NAMES
def test_hostile_entropy_coded_bytes_never_crash(name: str, make_codec: Make, x: Tensor) -> None:
    codec, random, refused = make_codec(name), np.random.default_rng(0), 0
    parsed = parse(codec.compress(x[..., :64, :64])[0])
    (whole,) = parsed.sections
    head = len(whole) % 4 or 4
    for k in range(12):
        body = whole[:head] + (random.bytes(4 * k) if k % 2 else whole[head : head + 4 * k])
        try:
            decoded = codec.decompress([dataclasses.replace(parsed, sections=(body,)).pack()])
        except BitstreamError:
            refused += 1
        else:
            assert decoded.shape == (1, 3, 64, 64)
            assert not decoded.isnan().any()
    assert refused > 0 or name not in BAD_GAIN


@NAMES
def test_the_gain_trades_rate_for_quality(name: str, make_codec: Make, x: Tensor) -> None:
    codec = make_codec(name)
    latents = codec.latents(x)
    if codec.rate_parameter is None:
        assert codec.pack(latents, x.shape[-2:], 4.0) == codec.pack(latents, x.shape[-2:], 0.25), (
            "it has no use for one"
        )
        return
    sizes, errors = [], []
    gains: list[float] = [operating_points[-1] for operating_points in codec.operating_points] or [0.25, 1.0, 4.0]
    for gain in gains:
        stream = codec.pack(latents, x.shape[-2:], gain)
        sizes.append(len(stream))
        errors.append(float((codec.unpack(stream) - latents).abs().max()))
        # A hyperprior's encoder may choose the next value; a progressive one leaves out what is not worth its bits,
        # up to what it takes for an outlier.
        decides = isinstance(getattr(codec, "entropy", None), HyperPrior)
        reach = 3.505 if codec.progressive else 1.005 if decides else 0.505
        assert codec.operating_points or errors[-1] <= reach / gain + 1 / 128
    assert sizes == sorted(set(sizes))
    assert errors == sorted(errors, reverse=True)
    codec.gain.fill_(gains[-1])
    assert len(codec.compress(x)[0]) == sizes[-1], "its own gain is the default"


@NAMES
def test_streams_are_decoded_whatever_the_readers_gain(name: str, make_codec: Make, x: Tensor) -> None:
    codec = make_codec(name)
    (stream,) = codec.compress(x[..., :40, :40])
    before = codec.decompress([stream])
    codec.gain.fill_(3.0)
    assert torch.equal(codec.decompress([stream]), before)


@NAMES
def test_the_loss_is_distortion_and_rate_in_the_papers_units(name: str, make_codec: Make, x: Tensor) -> None:
    codec = make_codec(name)
    with torch.inference_mode():
        padded = codec.pad(x)
        reconstruction = codec(padded)
        loss = codec.loss(padded, reconstruction, 0.25)
    mse, bits = (padded - reconstruction.x_hat).square().mean(), reconstruction.bits.item()
    if codec.rate_parameter is None:
        assert loss.total == loss.rate
        assert loss.rate.item() == pytest.approx(bits / padded[0, 0].numel())
    elif isinstance(codec, CnnRnnAe):  # after the second round of two: twice the precision, at more than half the rate
        share = 2**-0.9
        torch.testing.assert_close(loss.total, loss.distortion + loss.rate)
        torch.testing.assert_close(loss.distortion, share * codec.lmbda * 2**2 * 255**2 * mse)
        assert loss.rate.item() == pytest.approx(share * bits / padded[0, 0].numel())
    elif not codec.rate_parameter.set_in_training:
        torch.testing.assert_close(loss.total, mse)
        assert loss.rate.item() == pytest.approx(bits / padded[0, 0].numel())
    elif isinstance(codec, GaussianAutoencoder):
        torch.testing.assert_close(loss.distortion, 4 * mse)
        assert loss.rate.item() == pytest.approx(bits / codec.analyse(padded).numel())
        torch.testing.assert_close(loss.total, loss.distortion + 0.25 * loss.rate)
    else:
        torch.testing.assert_close(loss.distortion, 255**2 * mse)
        assert loss.rate.item() == pytest.approx(bits / padded[0, 0].numel())
        torch.testing.assert_close(loss.total, loss.rate + 0.25 * loss.distortion)


@NAMES
def test_tiles_show_no_seams(name: str, make_codec: Make) -> None:
    """In tiles of 128 with the codec's own overlap, latents and picture are those of the whole."""
    from skimage import data

    codec, tiled = make_codec(name), make_codec(name)
    tiled.tile = 128
    tiled.halo = min(256, codec.halo)  # type: ignore[misc]
    x = to_tensor(data.astronaut()[64:320, :320])
    torch.testing.assert_close(tiled.latents(x), codec.latents(x), rtol=0, atol=2e-3)
    (stream,) = codec.compress(x)
    torch.testing.assert_close(tiled.decompress([stream]), codec.decompress([stream]), rtol=0, atol=1 / 512)


@pytest.mark.parametrize("name", ["wcae"])
def test_the_docstring_counts_the_parameters(name: str, make_codec: Make) -> None:
    codec = make_codec(name)
    stated = re.search(r"([\d,]+) parameters", type(codec).__doc__ or "")
    assert stated is not None
    assert sum(p.numel() for p in codec.parameters()) == int(stated[1].replace(",", ""))


def test_nowcaes_code_is_a_third_larger(make_codec: Make) -> None:
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    sizes = {name: make_codec(name).analyse(x).numel() for name in ("wcae", "nowcae")}
    assert sizes["nowcae"] * 3 == sizes["wcae"] * 4
