import pytest
import torch

from components.coding.fixed_point import UNIT
from components.coding.range_coder import PrefixDecoder, SymbolDecoder, SymbolEncoder
from components.entropy.hyper_latents import HyperLatents

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained() -> tuple[HyperLatents, torch.Tensor]:
    """Hyper-latents that have seen latents, and these latents (1, 12, 16, 24)."""
    torch.manual_seed(0)
    model, y = HyperLatents(12, 8, 20), 9 * torch.randn(1, 12, 16, 24)
    with torch.no_grad():
        model.h_a[-1].weight.mul_(30)  # type: ignore[operator]
        model(y, integers=False, soft=True)
    return model.eval(), y


def test_decoded_features_are_those_of_the_encoder(trained: tuple[HyperLatents, torch.Tensor]) -> None:
    model, y = trained
    encoder = SymbolEncoder()
    with torch.inference_mode():
        psi = model.encode(encoder, model.analyse(y))
        data = encoder.finish()
        assert psi.shape == (1, 20, 16, 24)
        assert torch.equal(model.decode(SymbolDecoder(data), 16, 24), psi)
        in_integers, bits = model(y, integers=True, soft=False)
        in_floats, _ = model(y, integers=False, soft=False)
    assert torch.equal(in_integers, psi)
    torch.testing.assert_close(psi / UNIT, in_floats.double(), rtol=0, atol=0.05)
    assert bits.shape == (1, 16, 24)
    assert 8 * len(data) == pytest.approx(bits.sum().item(), rel=0.02, abs=40)


def test_a_prefix_says_whether_it_holds_all(trained: tuple[HyperLatents, torch.Tensor]) -> None:
    model, y = trained
    encoder = SymbolEncoder()
    with torch.inference_mode():
        psi = model.encode(encoder, model.analyse(y))
        data = encoder.finish()
        whole, complete = model.decode_prefix(PrefixDecoder(data), 16, 24)
        assert complete
        assert torch.equal(whole, psi)
        part, complete = model.decode_prefix(PrefixDecoder(data[: len(data) // 2]), 16, 24)
        assert not complete
        assert part.shape == psi.shape
