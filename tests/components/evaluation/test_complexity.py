"""The cost of a codec against a count by hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.arrays import Rgb
from components.codecs.coder import Coder, LearnedCoder
from components.codecs.table import build
from components.coding.fixed_point import Products
from components.entropy.hyperprior import HyperPrior
from components.evaluation import complexity
from components.evaluation.complexity import count_parameters, kmac_per_px, peak_memory_mb
from components.layers.branch import WIDTHS, strides
from tests.components.evaluation.coders import Zip


def test_kmac_of_nowcae_counted_by_hand() -> None:
    """Each convolution costs 9 x in x out at its output's resolution, each GDN between them channels squared."""
    channels, area, macs = (3, *WIDTHS), 1.0, 0.0
    for k, stride in enumerate(strides(4)):
        area /= stride**2
        macs += 9 * channels[k] * channels[k + 1] * area
        if k < len(WIDTHS) - 1:
            macs += channels[k + 1] ** 2 * area
    encoder, decoder = kmac_per_px(build("nowcae", {}).eval())
    assert encoder == pytest.approx(macs / 1000, rel=1e-6)
    assert decoder > encoder  # one more convolution, at the code's resolution


def test_networks_in_integers_count() -> None:
    """Those of `minnen`, by hand: 256 positions, half of which see the 12 neighbours of the other colour in 5x5."""
    codec = build("minnen", {"N": 8, "M": 16}).eval()
    entropy = codec.entropy
    assert isinstance(entropy, HyperPrior)
    (stream,) = codec.compress(torch.rand(1, 3, 256, 256))
    before = Products.done
    codec.unpack(stream)

    def weights(network: torch.nn.Module) -> list[int]:
        return [layer.weight.numel() for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)]

    h_s = sum(n * area for n, area in zip(weights(entropy.side.h_s), (4**2, 4**2, 8**2, 16**2), strict=True))
    assert isinstance(entropy.context, torch.nn.Module)
    context = 12 / 25 * 128 * sum(weights(entropy.context))
    assert Products.done - before == h_s + context + 256 * sum(weights(entropy.parameters_net))


def test_a_codec_that_does_not_compute_with_torch_says_its_own_count(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = build("nowcae", {}).eval()
    monkeypatch.setattr(codec, "kmac_per_px", lambda: (1.5, 2.5))
    assert kmac_per_px(codec) == (1.5, 2.5)


def test_parameters_are_what_training_moves() -> None:
    codec = build("wcae", {})
    assert count_parameters(codec) == sum(value.numel() for value in codec.state_dict().values()) - sum(
        value.numel() for value in codec.buffers()
    )


class Greedy(Zip):
    """Holds 200 MB while it decodes."""

    def decode(self, data: bytes) -> Rgb:
        held = np.ones(200_000_000, np.uint8)
        decoded = super().decode(data)
        assert held[-1] == 1
        return decoded


PICTURE = np.zeros((200, 200, 3), np.uint8)


def peak_mb(coder: Coder, rgb: Rgb) -> float:
    found = peak_memory_mb(coder, rgb)
    assert found is not None
    return found


def test_peak_memory_is_that_of_coding_alone() -> None:
    """The libraries, a data set of 300 MB that the process holds and an earlier peak of 400 MB do not count."""
    data_set = np.ones(300_000_000, np.uint8)
    earlier = np.ones(400_000_000, np.uint8)
    del earlier
    assert peak_mb(Zip(), PICTURE) < 20
    assert 195 < peak_mb(Greedy(), PICTURE) < 240
    assert peak_mb(Zip(), PICTURE) < 20
    assert data_set[-1] == 1


def test_there_is_no_figure_where_the_peak_cannot_start_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clear_refs").mkdir()  # as in a sandbox, it cannot be written
    monkeypatch.setattr(complexity, "_PROCESS", tmp_path)
    assert peak_memory_mb(Zip(), PICTURE) is None


def test_memory_that_the_allocator_kept_counts_again() -> None:
    """A codec that has coded before takes as much as one that has not: freed memory goes back to the system first."""
    codec = build("nowcae", {}).eval()
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    first, *later = (peak_mb(LearnedCoder(codec), picture) for _ in range(3))
    assert 15 < first < 200
    assert all(0.6 * first < value < 1.4 * first for value in later)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_peak_memory_of_a_codec_on_the_gpu_is_the_gpus() -> None:
    codec = build("nowcae", {}).eval().to("cuda")
    weights = sum(value.nbytes for value in codec.state_dict().values()) / 1e6
    other = torch.ones(100_000_000, dtype=torch.uint8, device="cuda")
    picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    assert weights + 512 * 512 * 3 * 4 / 1e6 < peak_mb(LearnedCoder(codec), picture) < 1000
    assert other[-1] == 1
