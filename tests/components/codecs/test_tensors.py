import numpy as np
import torch

from components.codecs.tensors import to_rgb, to_tensor


def test_pictures_and_tensors_are_inverse() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    x = to_tensor(rgb[:, ::-1])
    assert x.shape == (1, 3, 5, 7)
    assert x.dtype == torch.float32
    assert np.array_equal(to_rgb(x), rgb[:, ::-1])
    assert to_rgb(torch.tensor([-1.0, 0.501 / 255, 2.0]).view(1, 3, 1, 1)).tolist() == [[[0, 1, 255]]]
