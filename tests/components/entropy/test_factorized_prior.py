import pytest
import torch

from components.coding.range_coder import TOTAL
from components.entropy.factorized_prior import FactorizedPrior

pytestmark = pytest.mark.usefixtures("one_thread")


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
