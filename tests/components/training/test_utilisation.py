"""Operations of a step, counted by hand, and the peak of this processor."""

from collections.abc import Callable

import pytest
import torch

from components.codecs.base import Codec
from components.training.utilisation import peak, step_flop


def test_operations_of_a_step_grow_with_its_pixels(make_codec: Callable[..., Codec]) -> None:
    codec = make_codec("factorized")
    one = step_flop(codec, torch.rand(1, 3, 64, 64), 0.01)
    assert step_flop(codec, torch.rand(2, 3, 64, 64), 0.01) == 2 * one
    # The first convolution alone: 5x5 from 3 to 12 channels at stride 2, forward, and backward for its weights.
    assert one > 2 * 2 * 5 * 5 * 3 * 12 * 32 * 32


@pytest.mark.usefixtures("one_thread")
def test_a_processor_is_measured() -> None:
    most = peak(torch.device("cpu"), "32-true")
    assert most.source == "large matrix product"
    assert 1e-4 < most.tflops < 100
