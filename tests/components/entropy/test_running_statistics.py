import math

import torch
from torch import Tensor

from components.entropy.running_statistics import RunningStatistics

CHANNELS = 12


def latents(seed: int = 0) -> Tensor:
    """(4, CHANNELS, 16, 16): channels with scales from 0.5 to 40 and means from -5 to 5."""
    y = torch.randn(4, CHANNELS, 16, 16, generator=torch.Generator().manual_seed(seed))
    scales, means = torch.logspace(math.log10(0.5), math.log10(40), CHANNELS), torch.linspace(-5, 5, CHANNELS)
    return y * scales[:, None, None] + means[:, None, None]


def test_normalised_latents_have_zero_mean_and_unit_scale() -> None:
    statistics = RunningStatistics(CHANNELS)
    for seed in range(20):
        statistics.update(latents(seed))
    y = latents(99)
    normal = statistics.normalise(y)
    torch.testing.assert_close(normal.mean(dim=(0, 2, 3)), torch.zeros(CHANNELS), rtol=0, atol=0.1)
    torch.testing.assert_close(normal.std(dim=(0, 2, 3)), torch.ones(CHANNELS), rtol=0.1, atol=0)


def test_a_channel_that_is_always_zero_has_a_scale() -> None:
    statistics = RunningStatistics(2)
    statistics.update(torch.zeros(1, 2, 4, 4))
    assert torch.isfinite(statistics.normalise(torch.ones(1, 2, 4, 4))).all()
