import pytest
import torch
from torch import Tensor, nn

from components.entropy.pixels.causal_mlp import CausalMlp


@pytest.fixture
def mlp() -> CausalMlp:
    """Weights as large as training makes them."""
    torch.manual_seed(0)
    made = CausalMlp(24, 12, 14.0)
    with torch.no_grad():
        made.across.normal_(0, 0.3)
        for layer in (*made.means, *made.spreads):
            assert isinstance(layer, nn.Linear)
            layer.weight.mul_(4)
    return made


@pytest.fixture
def planes() -> Tensor:
    from skimage import data

    rgb = torch.from_numpy(data.astronaut()[20:60, 200:250].copy()).float().permute(2, 0, 1)
    return torch.stack((rgb[1], rgb[0] - rgb[1], rgb[2] - rgb[1]))[None]
