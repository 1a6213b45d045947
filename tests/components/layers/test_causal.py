import numpy as np
import pytest
import torch
from torch import Tensor

from components.layers.causal import LAG, MEAN_BITS, NEIGHBOURS, PLANES, CausalMlp, ExactMlp


@pytest.fixture
def mlp() -> CausalMlp:
    """Weights as large as training makes them."""
    torch.manual_seed(0)
    made = CausalMlp(24, 12, 14.0)
    with torch.no_grad():
        made.across.normal_(0, 0.3)
        for output in made.outputs:
            output.weight.mul_(4)  # type: ignore[operator, union-attr]
    return made


@pytest.fixture
def planes() -> Tensor:
    from skimage import data

    rgb = torch.from_numpy(data.astronaut()[20:60, 200:250].copy()).float().permute(2, 0, 1)
    return torch.stack((rgb[1], rgb[0] - rgb[1], rgb[2] - rgb[1]))[None]


def neighbours(planes: Tensor) -> tuple[np.ndarray, tuple[slice, slice]]:
    """(K, 3, n) for the pixels away from the edges, and where these are."""
    height, width = planes.shape[-2:]
    inside = slice(3, height), slice(3, width - 3)
    seen = [
        planes[0, :, 3 - up : height - up, 3 - left : width - 3 - left].reshape(PLANES, -1) for up, left in NEIGHBOURS
    ]
    return torch.stack(seen).numpy().copy(), inside


def test_what_is_seen_is_decoded_by_then() -> None:
    assert len(set(NEIGHBOURS)) == 16
    for up, left in NEIGHBOURS:
        assert up > 0 or left > 0, "in raster order"
        assert LAG * up + left > 0, "and front by front"


def test_a_prediction_depends_on_nothing_that_follows(mlp: CausalMlp, planes: Tensor) -> None:
    y, x = 20, 25
    for plane in range(PLANES):
        known = planes.clone().requires_grad_()
        here, predictions = mlp(known)
        (here[0, plane, y, x] - predictions[plane].mean[0, y, x] - known[0, plane, y, x]).backward()
        gradient = known.grad
        assert gradient is not None
        assert gradient[0, :, y + 1 :].abs().max() == 0
        assert gradient[0, :, y, x + 1 :].abs().max() == 0
        assert gradient[0, plane:, y, x].abs().max() < 1e-5
        assert gradient[0, :, y - 1, x].abs().max() > 0


def test_the_exact_network_is_the_trained_one(mlp: CausalMlp, planes: Tensor) -> None:
    seen, (rows, columns) = neighbours(planes)
    exact = ExactMlp(mlp)
    exact.start(seen)
    with torch.inference_mode():
        here, predictions = mlp(planes)
    for plane, prediction in enumerate(predictions):
        mean, scale, weight = exact.predict(plane)
        expected = [part[0, rows, columns].flatten().numpy() for part in prediction]
        assert np.abs(mean / 2**MEAN_BITS - expected[0]).mean() < 0.1
        assert np.abs(mean / 2**MEAN_BITS - expected[0]).max() < 1
        assert np.abs(scale - expected[1]).max() < 0.6
        assert np.abs(weight - expected[2]).max() < 0.6
        told = here[0, plane, rows, columns].flatten().numpy()
        assert np.array_equal(told, planes[0, plane, rows, columns].flatten().numpy() - exact.reference[plane])
        exact.tell(plane, told)


def test_the_exact_network_does_not_depend_on_how_it_is_run(mlp: CausalMlp, planes: Tensor) -> None:
    """All pixels at once against seven at a time, and hidden units in another order: the same integers."""
    shuffled = CausalMlp(24, 12, 14.0)
    shuffled.load_state_dict(mlp.state_dict())
    order = torch.randperm(24)
    with torch.no_grad():
        shuffled.first.weight.copy_(mlp.first.weight[order])
        shuffled.first.bias.copy_(mlp.first.bias[order])
        shuffled.second.weight.copy_(mlp.second.weight[:, order])
    seen, _ = neighbours(planes)

    def run(network: CausalMlp, seen: np.ndarray) -> np.ndarray:
        exact = ExactMlp(network)
        exact.start(seen.copy())
        told = []
        for plane in range(PLANES):
            told.append(np.stack(exact.predict(plane)))
            exact.tell(plane, np.float32(3) - exact.reference[plane] % 5)
        return np.stack(told)

    whole = run(mlp, seen)
    pieces = [run(mlp, seen[..., k : k + 7]) for k in range(0, seen.shape[-1], 7)]
    assert np.array_equal(np.concatenate(pieces, axis=-1), whole)
    assert np.array_equal(run(shuffled, seen), whole)


def test_weights_that_integers_cannot_hold_are_refused(mlp: CausalMlp) -> None:
    with torch.no_grad():
        mlp.second.weight.mul_(1e5)
    with pytest.raises(OverflowError, match="too large for integer arithmetic"):
        ExactMlp(mlp)
