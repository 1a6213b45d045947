"""The cost of a codec against a count by hand."""

import pytest

from components.codecs.table import build
from components.evaluation.complexity import count_parameters, kmac_per_px, peak_memory_mb
from components.layers.branch import WIDTHS, strides


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


def test_a_codec_that_does_not_compute_with_torch_says_its_own_count(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = build("nowcae", {}).eval()
    monkeypatch.setattr(codec, "kmac_per_px", lambda: (1.5, 2.5))
    assert kmac_per_px(codec) == (1.5, 2.5)


def test_parameters_are_what_training_moves() -> None:
    codec = build("wcae", {})
    assert count_parameters(codec) == sum(value.numel() for value in codec.state_dict().values()) - sum(
        value.numel() for value in codec.buffers()
    )


def test_peak_memory_is_that_of_a_process_with_torch() -> None:
    assert 50 < peak_memory_mb() < 100_000
