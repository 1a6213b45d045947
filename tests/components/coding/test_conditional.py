import numpy as np
import pytest
import torch

from components.coding.conditional import Conditional, GaussianConditional, MixtureConditional, rdo_quantised
from components.coding.fixed_point import UNIT, Values
from components.coding.gain import Gains, shift_of
from components.coding.range_coder import SymbolDecoder, SymbolEncoder
from components.entropy import conditional as trained
from components.entropy.gain import GainVector
from components.entropy.relaxation import position_bits

CHANNELS = 6
MODELS: dict[str, tuple[trained.GaussianConditional | trained.GaussianMixtureConditional, Conditional]] = {
    "gaussian": (gaussian := trained.GaussianConditional(), GaussianConditional(gaussian.tables.integers())),
    "mixture": (mixture := trained.GaussianMixtureConditional(3), MixtureConditional(mixture.tables.integers(), 3)),
}


def latents_and_parameters(name: str) -> tuple[Values, Values]:
    """y (C, 64, 64), and its parameters as real numbers."""
    random = np.random.default_rng(0)
    mean = 3 * random.standard_normal((CHANNELS, 64, 64))
    log_scale = random.uniform(-1.5, 2.5, mean.shape)
    y = mean + np.exp(log_scale) * random.standard_normal(mean.shape)
    y[0, 0, :3] = 1000, -3000, 500
    if name == "gaussian":
        return y, np.concatenate((mean, log_scale))
    return y, np.concatenate(
        (np.zeros((3 * CHANNELS, 64, 64)), np.tile(mean, (3, 1, 1)), np.tile(log_scale, (3, 1, 1)))
    )


@pytest.mark.parametrize("gain", [0.4, 1.0, 1.7])
@pytest.mark.parametrize("name", MODELS)
def test_symbols_come_back_and_cost_what_their_density_says(name: str, gain: float) -> None:
    model, conditional = MODELS[name]
    quantiser = Gains(GainVector(CHANNELS).integers()).quantiser(shift_of(gain))
    y, real = latents_and_parameters(name)
    parameters, encoder = np.round(real * UNIT), SymbolEncoder()
    symbols = rdo_quantised(conditional, y, parameters, quantiser, squares_per_bit=0)
    conditional.encode(encoder, symbols, parameters, quantiser)
    y_hat = conditional.latents(symbols, parameters, quantiser)
    assert (np.abs(y_hat / UNIT - y) * gain).max() < 0.5 + 2.5 * max(1, gain) / UNIT
    data = encoder.finish()
    np.testing.assert_array_equal(conditional.decode(SymbolDecoder(data), parameters, quantiser), symbols)
    likelihood = model.likelihood(
        torch.from_numpy(real)[None].float(),
        torch.from_numpy(y_hat / UNIT)[None].float(),
        torch.full((1, 1, 1, 1), gain),
    )
    assert 8 * len(data) < 1.005 * position_bits(likelihood).sum().item() + 3 * 40
    assert conditional.bits(symbols, parameters, quantiser).sum() == pytest.approx(8 * len(data), rel=0.01)


@pytest.mark.parametrize("name", MODELS)
def test_decisions_trade_squares_for_bits(name: str) -> None:
    _, conditional = MODELS[name]
    quantiser = Gains(GainVector(CHANNELS).integers()).quantiser(0)
    y, real = latents_and_parameters(name)
    parameters = np.round(real * UNIT)

    def cost(symbols: Values) -> Values:
        squares = np.square(conditional.steps(y, parameters, quantiser) - symbols)
        return squares + 0.05 * conditional.bits(symbols, parameters, quantiser)

    rounded, chosen = (rdo_quantised(conditional, y, parameters, quantiser, weight) for weight in (0, 0.05))
    assert (np.abs(rounded - chosen) <= 1).all()
    assert 0.001 < (rounded != chosen).mean() < 0.2
    assert (cost(chosen) <= cost(rounded)).all()
