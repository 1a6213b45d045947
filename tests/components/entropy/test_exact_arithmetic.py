"""The integers that decide symbols: fixed-point networks, tables of mixtures, gains."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from components.entropy.conditional import GaussianConditional, GaussianMixtureConditional
from components.entropy.factorized_prior import LEVEL_PER_SHIFT, FactorizedPrior
from components.entropy.gain import GainVector
from components.entropy.gaussian_tables import (
    SMALLEST,
    STEP,
    TABLE_OF_ONE,
    TABLES_PER_LOG,
    TABLES_PER_LOG_BITS,
    UNITS_PER_TABLE,
)
from components.entropy.hyperprior import checkerboard_merge, checkerboard_split
from components.entropy.mixture_tables import MixtureTables
from components.entropy.range_coder import TOTAL, SymbolDecoder, SymbolEncoder
from components.entropy.relaxation import position_bits
from components.layers.fixed_point import UNIT, fixed_point_forward, leaky_relu, rounding_shift, to_fixed_point
from components.layers.hyper import hyper_synthesis


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_literals_are_what_their_comments_say() -> None:
    assert round(2**TABLES_PER_LOG_BITS / STEP) == TABLES_PER_LOG
    assert round(-math.log(SMALLEST) / STEP * UNITS_PER_TABLE) == TABLE_OF_ONE
    levels = FactorizedPrior.GAIN_LEVELS_PER_OCTAVE * STEP / (UNITS_PER_TABLE * math.log(2))
    assert round(2**16 * levels) == LEVEL_PER_SHIFT


def test_an_exact_network_is_the_float_one_rounded() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*hyper_synthesis(24, 40))
    z = torch.randint(-9, 10, (2, 24, 5, 7), generator=seeded()).float()
    with torch.inference_mode():
        integers = fixed_point_forward(layers, to_fixed_point(z))
        floats = layers.double()(z.double())
    assert torch.equal(integers, integers.round())
    assert (integers / UNIT - floats).abs().max() < 4 / UNIT
    assert floats.abs().max() > 0.5


@pytest.mark.filterwarnings("ignore:TF32")  # of the flag that is put back
def test_no_order_of_summation_changes_an_exact_network() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*hyper_synthesis(16, 16))
    z = torch.randint(-40, 41, (1, 16, 6, 6), generator=seeded()).double() * UNIT
    order = torch.randperm(16, generator=seeded(1))
    shuffled = nn.Sequential(*hyper_synthesis(16, 16))
    shuffled.load_state_dict(layers.state_dict())
    with torch.inference_mode():
        first = shuffled[0]
        assert isinstance(first, nn.Conv2d)
        first.weight.data.copy_(first.weight.data[:, order].clone())
        expected = fixed_point_forward(layers, z)
        assert torch.equal(fixed_point_forward(shuffled, z[:, order]), expected)
        batch = fixed_point_forward(layers, z.repeat(4, 1, 1, 1))
        assert torch.equal(batch, expected.expand_as(batch))
        with torch.backends.mkldnn.flags(enabled=False):
            assert torch.equal(fixed_point_forward(layers, z), expected)


def test_weights_that_could_overflow_are_refused() -> None:
    layer = nn.Conv2d(4, 4, 3)
    with torch.no_grad():
        layer.weight.fill_(2.0**14)
    with torch.inference_mode(), pytest.raises(OverflowError, match="too large"):
        fixed_point_forward([layer], torch.zeros(1, 4, 5, 5, dtype=torch.float64))
    with pytest.raises(TypeError, match="GELU"):
        fixed_point_forward([nn.GELU()], torch.zeros(1))


def test_divided_rounds_halves_up() -> None:
    x = torch.tensor([-6.0, -5, -2, -1, 0, 1, 2, 5, 6], dtype=torch.float64)
    assert rounding_shift(x, 2).tolist() == [-1, -1, 0, 0, 0, 0, 1, 1, 2]


def test_leaky_has_a_slope_that_integers_can_take() -> None:
    x = torch.arange(-64.0, 64, dtype=torch.float64)
    assert torch.equal(fixed_point_forward([leaky_relu()], x), torch.where(x < 0, (x / 8).floor(), x))


@pytest.mark.parametrize("gain", [0.1, 0.5, 0.97, 1.0, 1.4, 9.0])
def test_gains_are_nearly_what_was_asked_and_steps_their_inverse(gain: float) -> None:
    vector = GainVector(16)
    quantiser = vector.quantiser(vector.shift_of(gain))
    assert (quantiser.gain / 2**16).flatten().tolist() == pytest.approx([gain] * 16, rel=4e-4)
    torch.testing.assert_close(
        quantiser.gain * quantiser.step, torch.full((16, 1, 1), 2.0**32).double(), rtol=1e-3, atol=0
    )
    with torch.inference_mode():
        torch.testing.assert_close(
            vector(torch.tensor([math.log(gain)])).double()[0], quantiser.gain / 2**16, rtol=4e-4, atol=0
        )


def test_groups_of_channels_follow_a_gain_by_their_exponents() -> None:
    vector = GainVector(16, groups=4)
    with torch.no_grad():
        vector.exponent.copy_(torch.tensor([0.5, 1.0, 1.5, 0.0]))
        quantiser = vector.quantiser(vector.shift_of(2.0))
    expected = torch.tensor([2**0.5, 2, 2**1.5, 1]).repeat_interleave(4).double()
    torch.testing.assert_close(quantiser.gain.flatten() / 2**16, expected, rtol=1e-3, atol=0)


def random_mixtures(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    logits = random.integers(-4 * UNIT, 4 * UNIT, (3, n))
    means = random.integers(-20 * UNIT, 20 * UNIT, (3, n))
    return logits, means, random.integers(0, 48, (3, n))


def test_frequencies_of_mixtures_are_positive_sum_up_and_are_the_mixtures() -> None:
    logits, means, tables = random_mixtures(400)
    scales = SMALLEST * np.exp(STEP * tables)
    weights = np.exp(logits / UNIT)
    weights /= weights.sum(axis=0)
    seen: list[int] = []
    for batch in MixtureTables().batches(logits, means, tables):
        assert batch.frequencies.min() >= 1
        assert (batch.frequencies.sum(axis=1) == TOTAL).all()
        seen += batch.where.tolist()
        for row, place in enumerate(batch.where):
            edges = batch.first[row] + np.arange(batch.width + 1) - 0.5
            parts = (edges - means[:, place, None] / UNIT) / (scales[:, place, None] * math.sqrt(2))
            cdf = sum(
                w * np.array([0.5 * math.erfc(-v) for v in part])
                for w, part in zip(weights[:, place], parts, strict=True)
            )
            # The code that these frequencies make is hardly longer than the ideal one.
            ideal = np.append(np.diff(cdf), max(0, 1 - cdf[-1] + cdf[0])).clip(1e-12)
            excess = (ideal * np.log2(ideal / (batch.frequencies[row] / TOTAL))).sum()
            assert excess < 0.03
    assert sorted(seen) == list(range(400))


@pytest.mark.parametrize("model", [GaussianConditional(), GaussianMixtureConditional(3)])
@pytest.mark.parametrize("gain", [0.4, 1.0, 1.7])
def test_symbols_come_back_and_cost_what_their_density_says(
    model: GaussianConditional | GaussianMixtureConditional, gain: float
) -> None:
    channels, vector = 6, GainVector(6)
    quantiser = vector.quantiser(vector.shift_of(gain))
    generator = seeded()
    mean = 3 * torch.randn(1, channels, 64, 64, generator=generator)
    log_scale = torch.empty_like(mean).uniform_(-1.5, 2.5, generator=generator)
    y = mean + log_scale.exp() * torch.randn(mean.shape, generator=generator)
    y[0, 0, 0, :3] = torch.tensor([1000.0, -3000.0, 500.0])
    if isinstance(model, GaussianMixtureConditional):
        logits = torch.zeros(1, 3 * channels, 64, 64)
        parameters = torch.cat((logits, mean.repeat(1, 3, 1, 1), log_scale.repeat(1, 3, 1, 1)), dim=1)
    else:
        parameters = torch.cat((mean, log_scale), dim=1)
    fixed = to_fixed_point(parameters)
    encoder = SymbolEncoder()
    symbols = quantiser.quantise(to_fixed_point(y) - model.centre(fixed))
    y_hat = model.encode(encoder, quantiser, symbols, fixed)
    assert ((y_hat / UNIT - y).abs() * gain).max() < 0.5 + 2.5 * max(1, gain) / UNIT
    data = encoder.finish()
    assert torch.equal(model.decode(SymbolDecoder(data), quantiser, fixed), y_hat)
    ideal = (
        position_bits(model.likelihood(parameters, (y_hat / UNIT).float(), torch.full((1, 1, 1, 1), gain))).sum().item()
    )
    assert 8 * len(data) < 1.005 * ideal + 3 * 40


def test_the_density_is_one_and_its_tables_are_its_masses() -> None:
    torch.manual_seed(0)
    prior = FactorizedPrior(5, gain_levels=4)
    with torch.no_grad():
        for parameter in prior.density.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
        x = torch.linspace(-300, 300, 4001).expand(5, -1)
        assert (prior.density(x).diff(dim=1) > 0).all(), "the distribution rises"
        whole = torch.arange(-400.0, 401).expand(5, -1)
        mass = prior.density.likelihood(whole, 1.0)
    torch.testing.assert_close(mass.sum(dim=1), torch.ones(5), rtol=0, atol=1e-3)
    tables = prior.state_dict()["tables"]
    assert (tables.sum(dim=2) == TOTAL).all()
    torch.testing.assert_close(tables[:, 4, :127] / TOTAL, mass[:, 337:464], rtol=0, atol=3e-3)
    # At the highest level steps are finer, and so is each value's share.
    inner = tables[:, :, :127].max(dim=2).values
    assert (inner[:, 8] < inner[:, 4]).all()
    assert (inner[:, 4] < inner[:, 0]).all()


def test_tables_follow_the_densities_until_a_checkpoint_brings_its_own() -> None:
    torch.manual_seed(0)
    prior, other = FactorizedPrior(3), FactorizedPrior(3)
    before = {key: value.clone() for key, value in prior.state_dict().items()}
    with torch.no_grad():
        for parameter in prior.density.parameters():
            parameter.add_(0.5)
    prior.bits(torch.zeros(1, 3, 2, 2))  # training has gone on
    assert not torch.equal(prior.state_dict()["tables"], before["tables"])
    foreign = {**before, "tables": before["tables"].flip(2)}
    other.load_state_dict(foreign)
    other.eval()
    assert torch.equal(other.state_dict()["tables"], foreign["tables"]), "the checkpoint's own tables stay"


def test_the_checkerboard_comes_apart_and_together() -> None:
    x = torch.arange(2 * 3 * 4 * 6.0).view(2, 3, 4, 6)
    first, second = checkerboard_split(x)
    assert first.shape == second.shape == (2, 3, 4, 3)
    assert torch.equal(checkerboard_merge(first, second), x)
    board = checkerboard_merge(torch.ones(1, 1, 4, 3), torch.zeros(1, 1, 4, 3))[0, 0]
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(6), indexing="ij")
    assert torch.equal(board, ((rows + columns) % 2 == 0).float())
