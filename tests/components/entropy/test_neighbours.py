import pytest
import torch
from torch import Tensor, nn

from components.entropy.neighbours import from_neighbours

CHANNELS, HEIGHT, WIDTH = 4, 6, 8


def field(seed: int) -> Tensor:
    return torch.randn(2, CHANNELS, HEIGHT // 2, WIDTH // 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("groups", [1, CHANNELS])
@pytest.mark.parametrize("side", [3, 5])
@pytest.mark.parametrize("known", [1, 2])
def test_sums_are_those_of_the_whole_grid(known: int, side: int, groups: int) -> None:
    torch.manual_seed(side)
    layer = nn.Conv2d(CHANNELS, 8 if groups == 1 else CHANNELS, side, padding=side // 2, groups=groups)
    fields = [field(seed) for seed in range(known)]
    grid = torch.zeros(2, CHANNELS, HEIGHT, WIDTH)
    grid[..., 0::2, 0::2] = fields[0]
    if known == 2:
        grid[..., 1::2, 1::2] = fields[1]
    whole = layer(grid)
    asked = whole[..., 1::2, 1::2] if known == 1 else torch.cat((whole[..., 0::2, 1::2], whole[..., 1::2, 0::2]), dim=2)
    torch.testing.assert_close(from_neighbours(layer, fields), asked)


def test_training_reaches_weights_and_latents() -> None:
    layer = nn.Conv2d(CHANNELS, 8, 5, padding=2)
    fields = [field(seed).requires_grad_() for seed in range(2)]
    from_neighbours(layer, fields).square().sum().backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None
    assert all(each.grad is not None and each.grad.abs().min() > 0 for each in fields)
    unused = layer.weight.grad[..., (torch.arange(5)[:, None] + torch.arange(5)) % 2 == 0]
    assert unused.abs().max() == 0, "positions of one colour never see each other"
