import struct

import pytest
import torch

from components.arrays import Rgb
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.codecs.variants.cnn_rnn_ae import CnnRnnAe
from components.errors import BitstreamError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def codec() -> CnnRnnAe:
    torch.manual_seed(0)
    made = build("cnn_rnn_ae", {"N": 24, "M": 64, "rounds": 3}).eval()
    assert isinstance(made, CnnRnnAe)
    return made


@pytest.fixture(scope="module")
def x(photograph: Rgb) -> torch.Tensor:
    return to_tensor(photograph)


def test_every_round_refines_the_picture(codec: CnnRnnAe, x: torch.Tensor) -> None:
    sizes, errors = [], []
    for gain in (16, 64, 128, 192):
        stream = codec.pack(codec.latents(x), x.shape[-2:], gain)
        sizes.append(len(stream))
        errors.append((codec.decompress([stream]) - x).square().mean().item())
    assert sizes == sorted(set(sizes))
    assert errors == sorted(set(errors), reverse=True)
    assert [codec.describe(gain) for gain in (16, 64, 192)] == [
        "round 1, 16 of 64 channels",
        "round 1, 64 of 64 channels",
        "round 3, 64 of 64 channels",
    ]


def test_a_round_that_is_not_sent_changes_nothing(codec: CnnRnnAe, x: torch.Tensor) -> None:
    one, two = (codec.unpack(codec.pack(codec.latents(x), x.shape[-2:], gain)) for gain in (64, 128))
    assert one[:, 64:].abs().max() == 0
    with torch.inference_mode():
        *_, last = (each.x_hat for each in list(codec._code(x))[:2])
        torch.testing.assert_close(codec.synthesise(two), (last + 1) / 2)
        shorter = build("cnn_rnn_ae", {"N": 24, "M": 64, "rounds": 1}).eval()
        shorter.load_state_dict(
            {k: v for k, v in codec.state_dict().items() if not k.startswith(("priors.1", "priors.2"))}
        )
        assert torch.equal(codec.synthesise(one), shorter.synthesise(one[:, :64]))


def test_cells_remember_the_rounds_before(codec: CnnRnnAe, x: torch.Tensor) -> None:
    """The second round's symbols mean something else after another first round."""
    with torch.inference_mode():
        first, second, _ = codec.analyse(x).chunk(3, dim=1)
        nothing = torch.zeros_like(first)
        alone = codec.synthesise(torch.cat((nothing, second, nothing), dim=1)) - 0.5
        after = codec.synthesise(torch.cat((first, second, nothing), dim=1)) - codec.synthesise(
            torch.cat((first, nothing, nothing), dim=1)
        )
    assert (alone - after).abs().max() > 1e-4


def test_training_sees_every_round(codec: CnnRnnAe, x: torch.Tensor) -> None:
    codec.train()
    batch = torch.cat((x[..., :128, :128], x[..., 32:160, 64:192]))
    reconstruction = codec(batch)
    codec.eval()
    assert reconstruction.x_hat.shape == (3, 2, 3, 128, 128)
    assert (reconstruction.bits.diff(dim=0) > 0).all()
    codec.zero_grad()
    codec.loss(batch, reconstruction, 1.0).total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in codec.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_number_of_channels_that_there_is_not_is_refused(codec: CnnRnnAe) -> None:
    for count in (0, 193, 65535):
        with pytest.raises(BitstreamError, match=f"the gain is {count}"):
            codec.decode((struct.pack("<H", count) + bytes(8),), 16, 16)


def test_bits_are_told_where_they_are_spent(codec: CnnRnnAe, x: torch.Tensor) -> None:
    """A picture that is flat but for its upper right quarter, and a map that says so, of what is sent alone."""
    codec.train()(x[..., :128, :128])  # priors that know the scale of their symbols
    codec.eval()
    picture = torch.full((1, 3, 256, 256), 0.5)
    picture[..., :128, 128:] = x[..., :128, :128]
    codec.gain.fill_(80)
    bits = codec.latent_maps(picture)["bits"]
    assert bits.shape == (16, 16)
    upper_left, busy, *lower = (part.mean().item() for half in bits.chunk(2) for part in half.chunk(2, dim=1))
    flat = (upper_left, *lower)
    assert busy - max(flat) > 3 * (max(flat) - min(flat)), "with priors that were not trained to tell more"
    codec.gain.fill_(192)
    assert codec.latent_maps(picture)["bits"].sum() > bits.sum()
