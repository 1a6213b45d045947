from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor, nn

from components.arrays import Rgb
from components.codecs.base import Codec
from components.codecs.bitstream import parse
from components.codecs.table import build
from components.codecs.tensors import to_tensor
from components.codecs.variants.pmsc import Pmsc
from components.coding.channel_flags import decode_flags
from components.coding.range_coder import SymbolDecoder
from components.data.shard_reader import Shards
from components.errors import RatewrightError
from components.training.callback import Validation
from components.training.config import TrainingConfig
from components.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")
GAIN_AND_OFFSET = 3  # bytes of a section before its flags


class Silent:
    def on_step(self, spent: float, step: int, loss: float) -> None:
        """Nothing."""

    def on_validation(self, validation: Validation) -> None:
        """Nothing."""


class Fixed(nn.Module):
    """A map that does not look at what it scales: one factor for each channel, or for all."""

    def __init__(self, factor: Tensor | float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, y: Tensor) -> Tensor:
        return torch.ones_like(y) * self.factor


@pytest.fixture(scope="module")
def trained(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Pmsc:
    torch.manual_seed(0)
    codec = build("pmsc", {"N": 16, "M": 32})
    config = TrainingConfig(batch_size=4, learning_rate=3e-3, lmbda=0.0002, steps=120, validate_every=60, workers=0)
    state = tmp_path_factory.mktemp("state") / "state.safetensors"
    train(codec, Shards(str(tiny_shards)), config, state_path=state, fingerprint="", callback=Silent())
    assert isinstance(codec, Pmsc)
    return codec


def size(codec: Codec, x: Tensor) -> int:
    return len(codec.compress(x)[0])


def test_the_importance_map_lowers_bytes_where_the_picture_is_smooth(trained: Pmsc) -> None:
    """In real bytes with the same weights: against a map of ones, and against one factor for each channel.

    The first says that a sky loses more bytes than gravel, the second that this is not only a coarser quantiser.
    """
    smooth = to_tensor(np.ascontiguousarray(data.rocket()[:256, :256]))
    detailed = to_tensor(np.repeat(data.gravel()[:256, :256, None], 3, axis=2))
    learned = trained.importance
    with torch.no_grad():
        means = torch.cat([learned(trained.g_a(2 * x - 1)) for x in (smooth, detailed)]).mean(dim=(0, 2, 3))

    def sizes(importance: nn.Module) -> tuple[int, int]:
        trained.importance = importance  # type: ignore[assignment]
        try:
            return size(trained, smooth), size(trained, detailed)
        finally:
            trained.importance = learned

    with_map, ones, own_means = (sizes(each) for each in (learned, Fixed(1.0), Fixed(means[:, None, None])))
    assert with_map[0] / ones[0] < 0.85
    assert with_map[0] / ones[0] < with_map[1] / ones[1] - 0.04
    assert with_map[0] < own_means[0]
    assert with_map[0] / own_means[0] < with_map[1] / own_means[1] - 0.01


def test_only_channels_that_are_not_zero_are_in_the_stream(trained: Pmsc, photograph: Rgb) -> None:
    x = to_tensor(photograph)
    latents = trained.latents(x)
    (section,) = parse(trained.pack(latents, x.shape[-2:])).sections
    used = trained.unpack(trained.pack(latents, x.shape[-2:])).abs().sum(dim=(0, 2, 3)) > 0
    flags = decode_flags(SymbolDecoder(section[GAIN_AND_OFFSET:]), trained.latent_channels)
    assert flags.tolist() == used.tolist()
    assert 0 < flags.sum() < len(flags)
    more = torch.zeros_like(latents)
    more[:, used] = latents[:, used]
    assert trained.pack(more, x.shape[-2:]) == trained.pack(latents, x.shape[-2:]), "the others cost nothing"


def test_maps_lie_over_the_picture(trained: Pmsc, photograph: Rgb) -> None:
    x = to_tensor(photograph)
    trained.gain.fill_(0.8)
    maps = trained.latent_maps(x)
    real = 8 * size(trained, x)
    trained.gain.fill_(1.0)
    assert {kind: found.shape for kind, found in maps.items()} == {"bits": (10, 12), "importance": (10, 12)}
    assert 0 <= maps["importance"].min() <= maps["importance"].max() <= 1
    assert maps["bits"].min() >= 0
    assert 0.8 * real < 256 * maps["bits"].sum() < 1.2 * real


@pytest.mark.parametrize("name", ["pmsc", "pmsc_hyper"])
def test_the_wavelet_of_the_attention_is_a_hyperparameter(name: str) -> None:
    """Any size is coded, whatever the wavelet; Haar is left out, so that checkpoints from before keep their hash."""
    x = torch.rand(1, 3, 17, 40, generator=torch.Generator().manual_seed(0))
    sizes = {"N": 8, "M": 16}
    assert build(name, {**sizes, "wavelet": "haar"}).hyperparameters == {**sizes, "gain_range": 0.0}
    for wavelet in ("db4", "bior4.4"):
        codec = build(name, {**sizes, "wavelet": wavelet}).eval()
        assert codec.hyperparameters["wavelet"] == wavelet
        (stream,) = codec.compress(x)
        assert codec.decompress([stream]).shape == x.shape
    with pytest.raises(RatewrightError, match="unknown wavelet"):
        build(name, {**sizes, "wavelet": "bior4"})
