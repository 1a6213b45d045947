import pytest
import torch

from components.layers.residual_upsampling import ResidualUpsampling, resnet_mirror

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("twice", [False, True])
def test_a_block_starts_as_its_skip(twice: bool) -> None:
    torch.manual_seed(0)
    block = ResidualUpsampling(6, 4 if twice else 6, twice=twice)
    x = torch.randn(2, 6, 5, 7)
    assert block(x).shape == ((2, 4, 10, 14) if twice else x.shape)
    assert torch.equal(block(x), block.skip(x))


@pytest.mark.parametrize(("inputs", "pool"), [(8, 1), (64, 1), (8, 2)])
def test_the_decoder_comes_to_the_size_of_the_picture(inputs: int, pool: int) -> None:
    with torch.no_grad():
        x_hat = resnet_mirror(inputs, 4, pool)(torch.rand(2, inputs, 2, 3))
    assert x_hat.shape == (2, 3, 64 * pool, 96 * pool)
    assert 0 <= x_hat.min() <= x_hat.max() <= 1


@pytest.mark.parametrize("pool", [1, 2])
def test_at_first_the_middle_is_grey_and_the_first_channel_is_light(pool: int) -> None:
    torch.manual_seed(0)
    mirror = resnet_mirror(32, 8, pool).eval()
    code = torch.full((1, 32, 3, 3), 0.5)
    with torch.no_grad():
        grey = mirror(code)
        code[:, 0] = 0.6
        light = mirror(code)
    assert (grey - 0.5).abs().max() < 0.1
    middle = light[..., 32 * pool : -32 * pool, 32 * pool : -32 * pool]
    assert middle.mean() > 0.53
    assert middle.std() < middle.mean() - 0.5
