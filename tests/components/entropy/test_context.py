from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from components.entropy.context import CheckerboardContext, ContextModel, HierarchicalContext, NoContext
from components.entropy.running_statistics import RunningStatistics

CHANNELS, SIDE = 3, 8
MODELS: dict[str, Callable[[], ContextModel]] = {
    "none": NoContext,
    "checkerboard": lambda: CheckerboardContext(CHANNELS, 5, 3),
    "hierarchical": lambda: HierarchicalContext(CHANNELS, 5),
}


def latents() -> Tensor:
    """(2, CHANNELS, 8, 12)."""
    return torch.randn(2, CHANNELS, SIDE, 12, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MODELS)
def test_passes_hold_every_position_once(name: str) -> None:
    model, positions = MODELS[name](), torch.arange(SIDE * 12.0).view(1, 1, SIDE, 12)
    parts = model.split(positions)
    assert torch.equal(torch.cat([part.flatten() for part in parts]).sort().values, positions.flatten())
    assert torch.equal(model.merge(parts), positions)


def test_the_passes_of_the_hierarchy_go_from_coarse_to_fine() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    parts = HierarchicalContext(1, 1).split(torch.stack((rows, columns))[None])
    found = [{(int(row), int(column)) for row, column in part[0].flatten(1).T} for part in parts]
    places = [(row, column) for row in range(8) for column in range(8)]
    assert found[0] == {(row, column) for row, column in places if row % 4 == column % 4 == 0}
    assert found[1] == {(row, column) for row, column in places if row % 4 == column % 4 == 2}
    assert found[2] == {(row, column) for row, column in places if {row % 4, column % 4} == {0, 2}}
    assert found[3] == {(row, column) for row, column in places if row % 2 == column % 2 == 1}
    assert found[4] == {(row, column) for row, column in places if (row + column) % 2 == 1}


@pytest.mark.parametrize("name", MODELS)
def test_a_context_is_of_the_passes_before_and_of_no_other(name: str) -> None:
    """What the encoder computes from all latents is what the decoder computes from those it has."""
    torch.manual_seed(0)
    model, statistics, y = MODELS[name](), RunningStatistics(CHANNELS), latents()
    statistics.update(y)
    parts = model.split(y)
    other = model.split(y + 100)
    for number, part in enumerate(parts):
        context = model.of(parts[:number], part, statistics)
        assert context.features.shape == (2, model.features, *part.shape[2:])
        changed = model.of(other[:number], part, statistics)
        assert torch.equal(changed.features, context.features) == (number == 0), "it depends on the passes before"


def test_means_are_predicted_from_the_neighbours_known() -> None:
    """With weights of a quarter a plane is interpolated without error, away from the margin."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    y = torch.stack((rows, columns, 3 * columns - rows))[None]
    model, statistics = HierarchicalContext(CHANNELS, 5), RunningStatistics(CHANNELS)
    statistics.update(y)
    neighbours = {True: [[1, 0, 1], [0, 0, 0], [1, 0, 1]], False: [[0, 1, 0], [1, 0, 1], [0, 1, 0]]}
    for number, layer in enumerate(model.predictions):
        assert isinstance(layer, nn.Conv2d)
        layer.weight.data[:] = torch.tensor(neighbours[number % 2 == 0]) / 4
    parts = model.split(y)
    for number in range(1, model.PASSES):
        predicted = model.of(parts[:number], parts[number], statistics).mean
        assert isinstance(predicted, Tensor)
        assert predicted.shape == parts[number].shape
        error = parts[number] - statistics.mean[:, None, None] - predicted
        assert error[..., 1:-1, 1:-1].abs().max() < 0.01
