import math

import torch

from components.layers.importance import Importance


def test_the_map_is_twice_softsign_of_tanh() -> None:
    torch.manual_seed(0)
    module, y = Importance(4), 3 * torch.randn(1, 4, 5, 6)
    with torch.no_grad():
        w, found = module.w(y), module(y)
    for here, there in zip(w.flatten().tolist(), found.flatten().tolist(), strict=True):
        n = (math.exp(here) - math.exp(-here)) / (math.exp(here) + math.exp(-here))
        assert abs(there - 2 * n / (abs(n) + 1)) < 1e-5


def test_at_first_everything_is_important() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        found = Importance(16)(torch.randn(2, 16, 8, 8))
    assert found.abs().max() < 1
    assert found.mean() > 0.9
    assert found.min() > 0.5
