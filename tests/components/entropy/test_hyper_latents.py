import numpy as np
import pytest
import torch

from components.entropy.hyper_latents import HyperLatents

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained() -> tuple[HyperLatents, torch.Tensor]:
    """Hyper-latents that have seen latents, and these latents (2, 12, 16, 24)."""
    torch.manual_seed(0)
    model, y = HyperLatents(12, 8, 20), 9 * torch.randn(2, 12, 16, 24)
    with torch.no_grad():
        model.h_a[-1].weight.mul_(30)  # type: ignore[operator]
        model(y, soft=True)
    return model.eval(), y


def test_bits_lie_where_their_latents_are(trained: tuple[HyperLatents, torch.Tensor]) -> None:
    model, y = trained
    with torch.inference_mode():
        psi, bits = model(y, soft=False)
        z = model.analyse(y).round()
        lengths = model.prior.coder.bits(z[0].flatten(1).int().numpy()).sum(axis=0)
    assert psi.shape == (2, 20, 16, 24)
    assert bits.shape == (2, 16, 24)
    blocks = bits[0].view(4, 4, 6, 4).sum(dim=(1, 3)).flatten()
    np.testing.assert_allclose(blocks, lengths, rtol=0.02, atol=0.5)


def test_an_estimate_of_a_batch_is_that_of_its_pictures(trained: tuple[HyperLatents, torch.Tensor]) -> None:
    model, y = trained
    y_hat, bits = model.estimated(y, lambda latents, side: (np.round(latents), side.sum(axis=0)))
    assert torch.equal(y_hat, y.round())
    torch.testing.assert_close(bits, model.analyse(y).detach().sum(dim=1))
