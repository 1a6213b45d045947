"""The choice of arithmetic does not change the codec."""

import torch

from components.codecs.table import build
from components.training.precision import fastest_precision


def test_measuring_changes_nothing_in_the_codec() -> None:
    codec = build("nowcae", {})
    before = {key: value.clone() for key, value in codec.state_dict().items()}
    assert fastest_precision(codec, torch.rand(1, 3, 64, 64), 0.01) in ("32-true", "bf16-mixed")
    assert all(torch.equal(value, before[key]) for key, value in codec.state_dict().items())
    assert all(parameter.grad is None for parameter in codec.parameters())
