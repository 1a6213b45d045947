import math

import numpy as np
import pytest
import torch

from components.coding.escapes import encode_values
from components.coding.gaussian_tables import FRACTIONS, SCALES
from components.coding.range_coder import Ints, SymbolEncoder
from components.entropy.channel_gaussian import ChannelGaussian
from components.errors import BitstreamError

pytestmark = pytest.mark.usefixtures("one_thread")


def gaussian_code(channels: int, height: int, width: int, seed: int, widest: float = 40.0) -> Ints:
    """Rounded Gaussians whose scales run from nearly constant to `widest`, at random means."""
    random = np.random.default_rng(seed)
    scale = np.exp(random.uniform(math.log(0.05), math.log(widest), (channels, 1, 1)))
    mean = random.normal(0, 20, (channels, 1, 1))
    return np.round(random.normal(mean, scale, (channels, height, width))).astype(np.int32)


def round_trip(model: ChannelGaussian, symbols: Ints) -> bytes:
    data = model.coder.encode_symbols(symbols)
    decoded = model.coder.decode_symbols(data, (symbols.shape[0], symbols.shape[1], symbols.shape[2]))
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, symbols)
    return data


def ideal_bits(model: ChannelGaussian, symbols: Ints) -> float:
    """Ideal bits of symbols (C, H, W) under the tables that `encode_symbols` chooses, side information left out."""
    channels = symbols.reshape(len(symbols), -1)
    reach, total = int(model.coder._tables.supports[-1]), 0.0
    for values, scale, mean in zip(channels, *model.coder.fit_side_information(channels), strict=True):
        whole, fraction = divmod(int(mean) + FRACTIONS // 2, FRACTIONS)
        placed = np.clip(values - whole, -reach, reach) + reach
        total += float(model.coder._tables.bits[placed, scale * FRACTIONS + fraction].sum())
    return total


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(1, 1, 1), (96, 1, 1), (5, 1, 7), (32, 9, 4)])
def test_round_trip_of_gaussians(shape: tuple[int, int, int], seed: int) -> None:
    round_trip(ChannelGaussian(shape[0]), gaussian_code(*shape, seed))


@pytest.mark.parametrize("seed", range(6))
def test_round_trip_of_what_is_not_gaussian(seed: int) -> None:
    random = np.random.default_rng(seed)
    symbols = np.zeros((6, 8, 8), dtype=np.int32)
    symbols[0] = random.integers(-500, 500, (8, 8))
    symbols[1] = random.standard_cauchy((8, 8)).clip(-5e4, 5e4)
    symbols[2] = random.choice([-90, 90], (8, 8))
    symbols[3] = np.where(random.random((8, 8)) < 0.05, 4000, 0)
    symbols[4] = 1000 + random.poisson(2, (8, 8))
    round_trip(ChannelGaussian(6), symbols)


@pytest.mark.parametrize("far", [278, 5_000, -70_000, 900_000, -900_000])
def test_escapes_far_outside_every_support(far: int) -> None:
    symbols = gaussian_code(3, 8, 8, 0, widest=1.0)
    symbols[1, 2, 3] = far
    calm = symbols.copy()
    calm[1, 2, 3] = 0
    model = ChannelGaussian(3)
    # At the worst the mean is pulled so far that the whole channel of 64 is escaped, at under 5 bytes each.
    assert len(round_trip(model, symbols)) < len(model.coder.encode_symbols(calm)) + 5 * 64


@pytest.mark.parametrize("value", [0, 1, -1, 63, -5000, 200_000])
def test_constant_channels_cost_next_to_nothing(value: int) -> None:
    symbols = np.full((4, 16, 16), value, dtype=np.int32)
    symbols[3] = -value
    data = round_trip(ChannelGaussian(4), symbols)
    assert len(data) <= 28


@pytest.mark.parametrize("value", [300_000, -1_000_000])
def test_a_mean_out_of_range_is_kept_or_refused(value: int) -> None:
    symbols = np.full((2, 3, 3), value, dtype=np.int32)
    model = ChannelGaussian(2)
    try:
        data = model.coder.encode_symbols(symbols)
    except ValueError:
        return
    np.testing.assert_array_equal(model.coder.decode_symbols(data, (2, 3, 3)), symbols)


@pytest.mark.parametrize("seed", range(3))
def test_real_bits_against_ideal_bits(seed: int) -> None:
    """At least the ideal code length; at most 0.5 % and 64 bits above it and the side information."""
    model, symbols = ChannelGaussian(24), gaussian_code(24, 64, 64, seed)
    ideal = ideal_bits(model, symbols)
    side = SymbolEncoder()
    model.coder._encode_side(side, model.coder.fit_side_information(symbols.reshape(24, -1)))
    side_bits = 8 * len(side.finish())
    assert side_bits < 24 * 24
    bits = 8 * len(round_trip(model, symbols))
    assert ideal <= bits <= 1.005 * ideal + side_bits + 64


@pytest.mark.parametrize("seed", range(3))
def test_the_bank_is_fine_enough(seed: int) -> None:
    """The ideal code length is within 1 % of the entropy of the Gaussians that the symbols were drawn from."""
    random = np.random.default_rng(seed)
    scale = np.exp(random.uniform(math.log(0.5), math.log(30), 16))
    mean = random.uniform(-30, 30, 16)
    values = np.arange(-400, 401)
    edges = np.concatenate([values - 0.5, [values[-1] + 0.5]])
    entropy, symbols = 0.0, np.empty((16, 64, 64), dtype=np.int32)
    for c in range(16):
        z = (edges - mean[c]) / (scale[c] * math.sqrt(2))
        p = np.diff([0.5 * math.erfc(-one) for one in z])
        p = p[p > 1e-15]
        entropy -= 4096 * float((p * np.log2(p)).sum())
        symbols[c] = np.round(random.normal(mean[c], scale[c], (64, 64)))
    assert 0.99 * entropy < ideal_bits(ChannelGaussian(16), symbols) < 1.01 * entropy


def test_the_description_is_the_cheapest_of_the_bank() -> None:
    model, symbols = ChannelGaussian(2), gaussian_code(2, 12, 12, 3, widest=4.0)
    flat = symbols.reshape(2, -1)
    reach = int(model.coder._tables.supports[-1])
    side = model.coder.fit_side_information(flat)
    for values, scale, mean in zip(flat, side.scale, side.mean, strict=True):
        whole, fraction = divmod(int(mean) + FRACTIONS // 2, FRACTIONS)
        centre = round(float(values.mean()))
        costs = {
            (s, centre, f): model.coder._tables.bits[values - centre + reach, s * FRACTIONS + f].sum()
            for s in range(SCALES)
            for f in range(FRACTIONS)
        }
        assert costs[(int(scale), whole, fraction)] == pytest.approx(min(costs.values()))


def test_running_statistics_shorten_the_side_information() -> None:
    """The same code is smaller after the model has seen codes like it."""
    symbols = gaussian_code(64, 4, 4, 1)
    fresh, used = ChannelGaussian(64), ChannelGaussian(64).train()
    y = torch.from_numpy(symbols)[None].float()
    for _ in range(600):
        used(y)
    assert len(round_trip(used, symbols)) < 0.9 * len(round_trip(fresh, symbols))


@pytest.mark.parametrize("shape", ["gaussian", "laplace", "two peaks"])
@pytest.mark.parametrize("scale", [0.3, 1.0, 6.0])
def test_training_bits_are_at_least_ideal(shape: str, scale: float) -> None:
    """In expectation over the noise no model is below the differential entropy of y + noise (Gibbs).

    Tolerance 0.01 bits per element: 65,536 elements estimate both sides, and the Gaussian is fitted to them.
    """
    random = np.random.default_rng(0)
    n = 65_536
    y = {
        "gaussian": random.normal(0.3, scale, n),
        "laplace": random.laplace(0.3, scale / math.sqrt(2), n),
        "two peaks": random.choice([-scale, scale], n) + 0.1 * random.normal(size=n),
    }[shape]
    fine, step = np.histogram(y, bins=np.arange(-90, 90, 1 / 64))[0] / n, 1 / 64
    density = np.convolve(fine, np.full(64, 1.0))  # of y + uniform noise, at steps of 1/64
    density = density[density > 0]
    ideal = -float((density * np.log2(density)).sum() * step)

    torch.manual_seed(0)
    model = ChannelGaussian(1).train()
    estimate = model(torch.from_numpy(y).float().view(1, 1, 256, 256))
    assert (estimate.y_hat.flatten() - torch.from_numpy(y)).abs().max() <= 0.5 + 1e-4
    per_element = estimate.bits.item() / n
    assert per_element >= ideal - 0.01
    if shape == "gaussian":
        assert per_element <= ideal + 0.01, "the model is the distribution itself"
    if shape == "two peaks" and scale == 6.0:
        assert per_element > ideal + 0.5, "a Gaussian is a poor model of this, and must say so"


def test_training_bits_foretell_real_bytes() -> None:
    """On average over means of any fraction: within 2 % for codes of one step and wider."""
    random = np.random.default_rng(4)
    scale = np.exp(random.uniform(0, math.log(20), (1, 64, 1, 1)))
    y = random.normal(random.uniform(-9, 9, (1, 64, 1, 1)), scale, (1, 64, 48, 48))
    torch.manual_seed(0)
    model = ChannelGaussian(64)
    estimated = model.train()(torch.from_numpy(y)).bits.item()
    rounded = model.eval()(torch.from_numpy(y)).bits.item()
    real = 8 * len(model.coder.encode_symbols(np.round(y[0]).astype(np.int32)))
    assert real == pytest.approx(estimated, rel=0.02)
    assert real == pytest.approx(rounded, rel=0.02)
    assert real >= 0.995 * rounded


def test_evaluation_rounds_and_counts_each_image_alone() -> None:
    y = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    model = ChannelGaussian(4).eval()
    estimate = model(y)
    assert torch.equal(estimate.y_hat, y.round())
    assert estimate.position_bits.shape == (3, 8, 8)
    torch.testing.assert_close(estimate.bits[1:2], model(y[1:2]).bits)


def test_bits_have_a_gradient_everywhere() -> None:
    y = torch.zeros(1, 2, 4, 4, requires_grad=True)
    ChannelGaussian(2).train()(y).bits.sum().backward()
    assert y.grad is not None
    assert torch.isfinite(y.grad).all()
    wide = (5 * torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))).requires_grad_()
    ChannelGaussian(2).train()(wide).bits.sum().backward()
    assert wide.grad is not None
    assert (wide.grad * (wide - wide.mean((2, 3), keepdim=True)).detach()).sum() > 0, "spread costs bits"


def test_estimates_are_float32_under_autocast() -> None:
    y = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)) * 3
    model = ChannelGaussian(4).eval()
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(y)
    assert estimate.y_hat.dtype == estimate.bits.dtype == torch.float32
    assert torch.equal(estimate.bits, model(y).bits)


def test_garbage_is_a_bitstream_error_or_a_code() -> None:
    random, model, refused = np.random.default_rng(0), ChannelGaussian(8), 0
    for _ in range(200):
        try:
            decoded = model.coder.decode_symbols(random.bytes(4 * int(random.integers(0, 30))), (8, 4, 4))
        except BitstreamError:
            refused += 1
        else:
            assert decoded.shape == (8, 4, 4)
    assert refused > 20


def test_a_table_that_does_not_exist_is_refused() -> None:
    model = ChannelGaussian(3)
    model.typical.log_scale.fill_(-9.0)
    running, encoder = model.coder._running, SymbolEncoder()
    encoder.encode_uniform(np.array([SCALES], dtype=np.int32), 2 * SCALES + 1)
    for deltas in (np.array([0, SCALES, 0]), np.zeros(3)):
        table = int(model.coder._scale_of_deltas(deltas.astype(np.int32)))
        encoder.encode_uniform(np.array([table], dtype=np.int32), SCALES)
        encode_values(encoder, deltas.astype(np.int32), model.coder._tables.tables[table * FRACTIONS + FRACTIONS // 2])
    assert running.scale.max() == 0
    with pytest.raises(BitstreamError, match="a table that does not exist"):
        model.coder.decode_symbols(encoder.finish(), (3, 2, 2))
