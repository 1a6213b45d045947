import struct

import numpy as np
import pytest
import torch
from torch import Tensor

from components.entropy.bit_depths import MIDDLE, BitDepthModel, OperatingPoint
from components.errors import BitstreamError, RatewrightError

pytestmark = pytest.mark.usefixtures("one_thread")
C = 6
SHAPE = (C, 16, 16)


def codes(seed: int, batch: int = 1) -> Tensor:
    """Channels around the middle, the first ones wider; some values beyond the ends."""
    random = np.random.default_rng(seed)
    scale = np.geomspace(0.3, 0.05, C)[:, None, None]
    return torch.from_numpy(random.normal(0.5, scale, (batch, *SHAPE)).astype(np.float32))


@pytest.fixture(scope="module")
def model() -> BitDepthModel:
    """One that has counted."""
    torch.manual_seed(0)
    model = BitDepthModel(C, (2, 8)).train()
    for seed in range(50):
        model(codes(seed, 4))
    return model.eval()


def test_gains_number_the_widths_of_each_depth(model: BitDepthModel) -> None:
    assert model.operating_points == (range(6), range(6, 12))
    assert [model.operating_point(gain) for gain in (0, 5, 6, 11)] == [(2, 1), (2, 6), (8, 1), (8, 6)]
    for gain in (-1, 12):
        with pytest.raises(BitstreamError, match=f"the gain is {gain}, which names no bit depth"):
            model.operating_point(gain)


@pytest.mark.parametrize("gain", range(12))
def test_decoding_gives_the_rounded_code(model: BitDepthModel, gain: int) -> None:
    y, (bits, width) = codes(100), model.operating_point(gain)
    decoded = model.decode(model.encode(y, gain), SHAPE)
    step = 1 / (2**bits - 1)
    assert (decoded - y.clamp(0, 1))[:, :width].abs().max() <= step / 2 + 1e-6
    assert (decoded[:, width:] == MIDDLE).all()
    assert torch.equal(model(y, gain).y_hat, decoded)


@pytest.mark.parametrize("gain", [5, 11])
def test_the_estimate_is_the_stream_and_counting_pays(model: BitDepthModel, gain: int) -> None:
    y = codes(101)
    real = 8 * len(model.encode(y, gain)[0])
    estimate = model(y, gain)
    assert estimate.position_bits.shape == (1, 16, 16)
    assert real == pytest.approx(estimate.bits.item(), rel=0.005, abs=60)
    assert real < 0.9 * model.operating_point(gain).bits * y.numel()


def test_a_rare_value_costs_its_bits_where_it_is(model: BitDepthModel) -> None:
    y = torch.full((1, *SHAPE), 0.5)
    y[0, C - 1, 3, 11] = 1.0
    bits = model(y, 5).position_bits[0]
    assert bits.argmax() == 3 * SHAPE[2] + 11
    assert bits[3, 11] > bits[11, 3] + 2


def test_symbols_that_were_never_counted_come_back() -> None:
    model = BitDepthModel(C, (8,)).train()
    for seed in range(3):
        model(0.1 * codes(seed, 4))
    y = torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0))
    decoded = model.eval().decode(model.encode(y, 5), SHAPE)
    assert (decoded - y).abs().max() <= 0.5 / 255 + 1e-6


def test_training_draws_depths_and_widths_and_keeps_the_gradient() -> None:
    torch.manual_seed(0)
    model, y = BitDepthModel(C, (2, 8)).train(), codes(7, 64).requires_grad_()
    y_hat = model(y).y_hat
    widths = [int((one != MIDDLE).flatten(1).any(dim=1).sum()) for one in y_hat]
    assert set(widths) == set(range(1, C + 1))
    assert 0 <= y_hat.min() <= y_hat.max() <= 1
    inside = (y > 0.2) & (y < 0.8)
    errors = {
        ((a - b)[:w] * i[:w]).abs().max().item() > 0.01 for a, b, w, i in zip(y_hat, y, widths, inside, strict=True)
    }
    assert errors == {True, False}, "the noise of both depths"
    assert ((y_hat - y) * inside * (y_hat != MIDDLE)).mean().abs() < 1e-3, "symmetric noise"
    y_hat.sum().backward()
    assert y.grad is not None
    assert y.grad[0][: widths[0]].abs().sum() > 0
    assert y.grad[0][widths[0] :].abs().sum() == 0


@pytest.mark.parametrize("section", [b"", b"\0", struct.pack("<H", 12), struct.pack("<H", 11) + bytes(5)])
def test_hostile_sections(model: BitDepthModel, section: bytes) -> None:
    with pytest.raises(BitstreamError, match="corrupted bitstream"):
        model.decode((section,), SHAPE)


@pytest.mark.parametrize("depths", [(), (8, 2), (2, 2), (0, 4), (9,)])
def test_wrong_depths(depths: tuple[int, ...]) -> None:
    with pytest.raises(RatewrightError, match="bit depths must rise and lie between 1 and 8"):
        BitDepthModel(C, depths)


def test_tables_are_positive_and_whole(model: BitDepthModel) -> None:
    for bits in (2, 8):
        tables = model._tables(OperatingPoint(bits, C))
        assert tables.shape == (C, 2**bits)
        assert tables.min() >= 1
        assert (tables.sum(axis=1) == 1 << 16).all()
