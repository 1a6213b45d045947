import numpy as np
import pytest
import pywt
import torch
from torch import nn

from components.layers.wavelet_attention import WaveletAttention


@pytest.mark.parametrize("wavelet", ["haar", "db2", "sym4"])
def test_attention_is_the_papers_map_of_pywavelets_bands(wavelet: str) -> None:
    """W = cat(LL, LL + LH + HH), M = sigmoid(FC(relu(FC(W)))), with PyWavelets' transform and matrices in numpy."""
    torch.manual_seed(0)
    module = WaveletAttention(4, wavelet)
    nn.init.normal_(module.fc[2].bias)  # type: ignore[arg-type]
    x = torch.randn(1, 4, 6, 10)
    bands = [pywt.dwt2(channel, wavelet, mode="periodization") for channel in x[0].numpy()]
    low = np.stack([ll for ll, _ in bands])
    summed = np.stack([ll + lh + hh for ll, (lh, _, hh) in bands])
    w = np.concatenate((low, summed)).reshape(8, -1)
    state = {key: value.numpy() for key, value in module.fc.state_dict().items()}
    hidden = np.maximum(state["0.weight"][:, :, 0, 0] @ w + state["0.bias"][:, None], 0)
    logits = state["2.weight"][:, :, 0, 0] @ hidden + state["2.bias"][:, None]
    attention = 1 / (1 + np.exp(-logits))
    expected = x[0].numpy() * (1 + attention.reshape(4, 3, 5).repeat(2, axis=1).repeat(2, axis=2))
    with torch.no_grad():
        np.testing.assert_allclose(module(x)[0].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_attention_starts_close_to_the_identity() -> None:
    torch.manual_seed(0)
    module, x = WaveletAttention(8), torch.randn(2, 8, 8, 8)
    with torch.no_grad():
        ratio = module(x) / x
    assert ratio.min() > 1
    assert ratio.max() < 1.3
