from torch import Tensor

from components.entropy.pixels.causal_mlp import CausalMlp
from components.entropy.pixels.neighbourhood import PLANES


def test_a_prediction_depends_on_nothing_that_follows(mlp: CausalMlp, planes: Tensor) -> None:
    y, x = 20, 25
    for plane in range(PLANES):
        pixels = planes.clone().requires_grad_()
        here, predictions = mlp(pixels)
        (here[0, plane, y, x] - predictions[plane].mean[0, y, x] - pixels[0, plane, y, x]).backward()
        gradient = pixels.grad
        assert gradient is not None
        assert gradient[0, :, y + 1 :].abs().max() == 0
        assert gradient[0, :, y, x + 1 :].abs().max() == 0
        assert gradient[0, plane:, y, x].abs().max() < 1e-5
        assert gradient[0, :, y - 1, x].abs().max() > 0
