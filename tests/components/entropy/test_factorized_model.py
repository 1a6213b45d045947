import math

import numpy as np
import pytest
import torch

from components.coding.factorized import GAIN_LEVEL_PER_SHIFT, GAIN_LEVELS_PER_OCTAVE
from components.coding.gaussian_tables import STEP, UNITS_PER_TABLE
from components.entropy.factorized_model import FactorizedModel
from components.errors import BitstreamError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model() -> FactorizedModel:
    """Trained a little, on latents that are mostly zero: its density is still too wide for them."""
    torch.manual_seed(0)
    model = FactorizedModel(8, gain_range=0.0).train()
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    for seed in range(20):
        model(sparse(seed)).bits.mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def sparse(seed: int) -> torch.Tensor:
    """(1, 8, 32, 32): Laplacian, with scales from 0.1 to 0.3."""
    random = np.random.default_rng(seed)
    y = random.laplace(0, np.geomspace(0.1, 0.3, 8)[:, None, None], (1, 8, 32, 32))
    return torch.from_numpy(y.astype(np.float32))


def test_the_rate_has_no_jumps_where_the_gain_changes_its_table(model: FactorizedModel) -> None:
    y = sparse(100)
    gains = np.exp(np.arange(0, 0.4, 0.01))
    sizes = np.array([len(model.encode(y, gain)[0]) for gain in gains])
    assert sizes[-1] > 1.1 * sizes[0]
    assert (np.diff(sizes) / sizes[:-1]).max() < 0.05


def test_the_levels_are_those_that_cost_least(model: FactorizedModel) -> None:
    symbols = sparse(101)[0].flatten(1).round().int().numpy()
    levels = np.zeros(8, dtype=np.int32)
    best = model.prior.coder.best_level_offset(symbols, levels)
    assert model.prior.coder.best_level_offset(symbols, levels + best) == 0 or best == 0
    assert model.prior.coder.best_level_offset(symbols, levels - 5) == best + 5


def test_decoding_takes_the_level_from_the_stream(model: FactorizedModel) -> None:
    y = sparse(102)
    for gain in (0.7, 1.0, 1.3):
        sections = model.encode(y, gain)
        decoded = model.decode(sections, (8, 32, 32))
        assert (decoded - y).abs().max() < 0.51 / gain
    with pytest.raises(BitstreamError, match="header"):
        model.decode((sections[0][:2],), (8, 32, 32))


def test_the_levels_of_a_shift_are_what_the_comment_says() -> None:
    levels = GAIN_LEVELS_PER_OCTAVE * STEP / (UNITS_PER_TABLE * math.log(2))
    assert round(2**16 * levels) == GAIN_LEVEL_PER_SHIFT
