import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.metrics.figures import FIGURES, Quality
from components.metrics.quality import psnr_db, quality_of
from components.metrics.table import METRICS

RECORDED = json.loads((Path(__file__).parent / "torchmetrics_ssim.json").read_text())


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_psnr_by_hand() -> None:
    a = np.zeros((2, 2, 3), np.uint8)
    b = a.copy()
    b[0, 0, 0], b[1, 1, 2] = 3, 255  # MSE = (9 + 255^2) / 12
    assert psnr_db(a, b) == pytest.approx(10 * math.log10(255**2 * 12 / (9 + 255**2)), abs=1e-12)
    assert psnr_db(b, a) == psnr_db(a, b)  # differences are signed, not wrapped at 256
    assert psnr_db(a, np.full_like(a, 255)) == pytest.approx(0)
    assert psnr_db(a, a) is None


def test_identical_pictures_have_ssim_one() -> None:
    a = picture(180, 176)
    found = quality_of(a, a)
    assert (found.ssim, found.ms_ssim) == pytest.approx((1, 1), abs=1e-6)
    assert found.ssimulacra2 == pytest.approx(100, abs=1e-3)
    reasons = {"psnr_db": "infinite: the pictures are identical", "psnr_hvs_m_db": "infinite: no difference is seen"}
    assert found == Quality(None, found.ssim, found.ms_ssim, 0.0, found.ssimulacra2, None, reasons)


def test_ssim_is_that_of_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    a = np.repeat(np.repeat(picture(80, 80), 5, 0), 5, 1)
    b = np.clip(a.astype(int) + np.random.default_rng(1).integers(-30, 31, a.shape), 0, 255).astype(np.uint8)
    expected = structural_similarity(
        a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert 0.5 < expected < 0.95
    assert quality_of(a, b).ssim == pytest.approx(expected, abs=0.006)  # scikit-image leaves the edges out


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"{case['shape']}-{case['noise']}")
def test_ssim_and_ms_ssim_are_those_of_torchmetrics(case: dict[str, Any]) -> None:
    (height, width), noise = case["shape"], case["noise"]
    smooth = np.kron(picture(60, 60), np.ones((7, 7, 1), int))[:height, :width]
    b = np.clip(smooth + np.random.default_rng(1).integers(-noise, noise + 1, smooth.shape), 0, 255).astype(np.uint8)
    found = quality_of(smooth.astype(np.uint8), b)
    assert found.ssim == pytest.approx(case["ssim"], abs=1e-5)
    assert found.ms_ssim == pytest.approx(case["ms_ssim"], abs=1e-5)


def test_ms_ssim_falls_with_noise_and_is_a_number_even_for_a_negative() -> None:
    a = np.repeat(np.repeat(picture(36, 36), 5, 0), 5, 1)
    noise = np.random.default_rng(1).integers(-10, 11, a.shape)
    near, far = (np.clip(a + k * noise, 0, 255).astype(np.uint8) for k in (1, 5))
    values = [quality_of(a, b).ms_ssim for b in (near, far, 255 - a)]
    assert all(v is not None and not math.isnan(v) for v in values)
    assert 1 > values[0] > values[1] > values[2] >= 0  # type: ignore[operator]


@pytest.mark.parametrize(
    ("side", "missing"),
    [
        (176, set()),
        (175, {"ms_ssim"}),
        (113, {"ms_ssim"}),
        (112, {"ms_ssim", "ssimulacra2"}),
        (16, {"ms_ssim", "ssimulacra2"}),
        (15, {"ms_ssim", "ssimulacra2", "swd"}),
        (11, {"ms_ssim", "ssimulacra2", "swd"}),
        (10, {"ms_ssim", "ssimulacra2", "swd", "ssim"}),
        (7, {"ms_ssim", "ssimulacra2", "swd", "ssim", "psnr_hvs_m_db"}),
    ],
)
def test_a_picture_that_is_too_small_says_so(side: int, missing: set[str]) -> None:
    for shape in ((side, 200), (200, side)):
        quality = quality_of(picture(*shape), picture(*shape, seed=1))
        assert set(quality.reasons) == missing
        assert {n for n in FIGURES if getattr(quality, n) is None} == missing
        assert all(str(side) in reason and "at least" in reason for reason in quality.reasons.values())


@pytest.mark.parametrize("other", [np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8)])
def test_pictures_must_match(other: np.ndarray) -> None:
    with pytest.raises(ValueError, match="needed"):
        quality_of(np.zeros((4, 4, 3), np.uint8), other)


def test_the_table_has_the_figures_of_quality() -> None:
    assert set(FIGURES) <= set(METRICS)
