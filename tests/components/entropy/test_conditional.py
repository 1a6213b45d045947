import pytest
import torch

from components.entropy.conditional import GaussianConditional, GaussianMixtureConditional
from components.entropy.gain import GainVector
from components.entropy.range_coder import SymbolDecoder, SymbolEncoder
from components.entropy.relaxation import position_bits
from components.layers.fixed_point import UNIT, to_fixed_point

pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
