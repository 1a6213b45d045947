from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.families.adversarial import GanDiscriminator
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.codecs.variants.gan_ae_dc import DcganDiscriminator
from components.codecs.variants.gan_ae_w import WassersteinDiscriminator
from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.training.callback import Validation
from components.training.config import TrainingConfig
from components.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., Codec]
GANS = pytest.mark.parametrize("name", ["gan_ae_w", "gan_ae_dc"])
SMALL = {"N": 24, "M": 16, "D": 4}


@pytest.fixture
def x(photograph: Rgb) -> Tensor:
    return to_tensor(photograph)[..., :64, :64]


class Silent:
    def on_step(self, spent: float, step: int, loss: float) -> None:
        pass

    def on_validation(self, validation: Validation) -> None:
        pass


@GANS
def test_the_discriminator_is_no_part_of_the_codec(name: str, make_codec: Make) -> None:
    codec, plain = make_codec(name), make_codec("cnn_ae")
    assert codec.state_dict().keys() == plain.state_dict().keys()
    assert sum(p.numel() for p in codec.parameters()) == sum(p.numel() for p in plain.parameters())
    before = codec.model_hash()
    (discriminator,) = codec.discriminators()
    with torch.no_grad():
        next(discriminator.parameters()).add_(1)
    assert codec.model_hash() == before


@GANS
def test_the_generator_loss_is_in_training_alone(name: str, make_codec: Make, x: Tensor) -> None:
    """Another discriminator changes the total of the training loss, and neither its parts nor a validation."""
    codec = make_codec(name).train()
    reconstruction = codec(x)
    (discriminator,) = codec.discriminators()
    seen = []
    for _ in range(2):
        seen.append((codec.train().loss(x, reconstruction, 0.01), codec.eval().loss(x, reconstruction, 0.01)))
        with torch.no_grad():
            for parameter in discriminator.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    (first, validated), (second, again) = seen
    assert first.total != second.total
    assert (first.distortion, first.rate) == (second.distortion, second.rate)
    assert validated == again
    assert validated.total == codec.objective(validated.distortion, validated.rate, 0.01)


@GANS
def test_discriminator_and_generator_loss_pull_apart(name: str, x: Tensor) -> None:
    """After a few steps the discriminator tells two pictures apart, and the generator loss leads to the original."""
    torch.manual_seed(0)
    codec = build(name, {**SMALL, "beta": 1.0})
    (discriminator,) = codec.discriminators()
    assert isinstance(discriminator, GanDiscriminator)
    x_hat = torch.nn.functional.avg_pool2d(x, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    optimizer = torch.optim.Adam(discriminator.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        loss = discriminator.loss(x, x_hat)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    optimizer.zero_grad()
    blurred = x_hat.clone().requires_grad_()
    before = discriminator.generator_loss(blurred)
    assert before.shape == (1,)
    assert before.item() > discriminator.generator_loss(x).item()
    before.sum().backward()  # type: ignore[no-untyped-call]
    assert blurred.grad is not None
    assert discriminator.generator_loss(blurred.detach() - 0.02 * blurred.grad.sign()).item() < before.item()
    assert all(parameter.grad is None for parameter in discriminator.parameters()), "the codec's step does not train it"


class Slope(nn.Module):
    """Scores whose slope over the root mean square of a picture is known."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * x.mean(dim=(1, 2, 3))[:, None, None]


@pytest.mark.parametrize("side", [32, 96])
def test_the_wasserstein_loss_of_known_scores(side: int, photograph: Rgb) -> None:
    discriminator = WassersteinDiscriminator(4)
    discriminator.discriminator = Slope()  # type: ignore[assignment]
    x = to_tensor(photograph)[..., :side, :side]
    x_hat = x + 0.1
    assert discriminator.loss(x, x_hat).item() == pytest.approx(10 * (3 - 1) ** 2 + 3 * 0.1, rel=1e-4)


def test_the_gradient_penalty_reaches_the_weights(x: Tensor) -> None:
    """It depends on a gradient, which is itself differentiated, and in float32 under bfloat16 too."""
    torch.manual_seed(0)
    discriminator = WassersteinDiscriminator(4)
    gradients = []
    for bf16 in (False, True):
        discriminator.zero_grad()
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = discriminator.loss(x, x)  # the distance is zero: the penalty is all
        loss.backward()  # type: ignore[no-untyped-call]
        gradients.append([p.grad.clone() for p in discriminator.parameters() if p.grad is not None])
    assert gradients[0][0].abs().max() > 0
    for float32, under_autocast in zip(*gradients, strict=True):
        assert torch.equal(float32, under_autocast)


def test_the_dcgan_loss_is_cross_entropy(x: Tensor) -> None:
    discriminator = DcganDiscriminator(4)
    scores = discriminator.discriminator(x), discriminator.discriminator(x.flip(2))
    ones = [torch.ones_like(each) for each in scores]
    entropy = nn.functional.binary_cross_entropy_with_logits
    expected = entropy(scores[0], ones[0]) + entropy(scores[1], 0 * ones[1])
    torch.testing.assert_close(discriminator.loss(x, x.flip(2)), expected)
    torch.testing.assert_close(discriminator.generator_loss(x.flip(2)).mean(), entropy(scores[1], ones[1]))


@GANS
def test_without_weight_training_is_that_of_the_autoencoder(name: str, tiny_shards: Path, tmp_path: Path) -> None:
    """beta = 0 trains to the bit as `cnn_ae` does with mu = 0."""
    config = TrainingConfig(batch_size=2, learning_rate=1e-3, lmbda=0.01, steps=3, precision="32-true", workers=0)
    trained = []
    for codec_name, hyper in ((name, {**SMALL, "beta": 0.0}), ("cnn_ae", {"N": 24, "M": 16, "mu": 0.0})):
        torch.manual_seed(3)
        codec = build(codec_name, hyper)
        train(
            codec, Shards(str(tiny_shards)), config, state_path=tmp_path / codec_name, fingerprint="", callback=Silent()
        )
        trained.append(codec.state_dict())
    for key, value in trained[0].items():
        assert torch.equal(value, trained[1][key]), key


@GANS
def test_wrong_hyperparameters_are_one_line(name: str) -> None:
    with pytest.raises(RatewrightError, match=f"{name}: beta must be at least 0, not -1"):
        build(name, {**SMALL, "beta": -1})
