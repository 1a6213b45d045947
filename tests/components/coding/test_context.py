from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from components.coding import context as coding
from components.coding.fixed_point import UNIT, Arrays, Values
from components.entropy.context import CheckerboardContext, ContextModel, HierarchicalContext
from components.entropy.running_statistics import RunningStatistics

CHANNELS = 3
TRAINED: dict[str, Callable[[], ContextModel]] = {
    "checkerboard": lambda: CheckerboardContext(CHANNELS, 5, 5),
    "hierarchical": lambda: HierarchicalContext(CHANNELS, 5),
}
CODING: dict[str, Callable[[Arrays], coding.ContextModel]] = {
    "checkerboard": coding.CheckerboardContext,
    "hierarchical": coding.HierarchicalContext,
}


@pytest.mark.parametrize("name", TRAINED)
def test_a_coder_knows_what_training_knew(name: str) -> None:
    """The same positions in the same passes, and the same features and means, to the precision of fixed point."""
    torch.manual_seed(0)
    trained, statistics = TRAINED[name](), RunningStatistics(CHANNELS)
    if isinstance(trained, HierarchicalContext):
        for layer in trained.predictions:
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=0.2)  # zero at first
    found, integers = trained.coding_parts()
    model = CODING[found](integers)
    y = np.round(np.random.default_rng(0).normal(0, 2 * UNIT, (CHANNELS, 8, 12)))
    parts, of_trained = model.split(y), trained.split(torch.from_numpy(y / UNIT)[None].float())
    np.testing.assert_array_equal(model.merge(parts), y)

    def normalise(x: Values) -> Values:
        return x

    for number, part in enumerate(parts):
        np.testing.assert_allclose(part / UNIT, of_trained[number][0])
        ours = model.of(parts[:number], part, normalise, np.zeros((CHANNELS, 1, 1)))
        theirs = trained.of(of_trained[:number], of_trained[number], statistics)
        assert ours.features.shape == theirs.features.shape[1:]
        np.testing.assert_allclose(ours.features / UNIT, theirs.features[0].detach(), atol=0.02)
        assert isinstance(ours.mean, float) == isinstance(theirs.mean, float)
        if isinstance(theirs.mean, torch.Tensor):
            np.testing.assert_allclose(ours.mean / UNIT, theirs.mean[0].detach(), atol=0.02)
