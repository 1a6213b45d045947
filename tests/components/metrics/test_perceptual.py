"""SSIMULACRA 2 and PSNR-HVS-M against figures of other implementations."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.metrics.psnr_hvs_m import psnr_hvs_m_db
from components.metrics.ssimulacra2 import _WINDOW, ssimulacra2
from tests.components.metrics.pairs import SPOILED, original

RECORDED = json.loads((Path(__file__).parent / "perceptual.json").read_text())


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"{case['picture']}-{case['spoiled']}")
def test_figures_are_those_of_other_implementations(case: dict[str, Any]) -> None:
    picture = original(case["picture"])
    spoiled = SPOILED[case["spoiled"]](picture)
    assert ssimulacra2(picture, spoiled) == pytest.approx(case["ssimulacra2"], abs=0.005)
    assert psnr_hvs_m_db(picture, spoiled) == pytest.approx(case["psnr_hvs_m_db"], abs=1e-4)


def test_the_window_is_the_impulse_response_of_the_recursive_gaussian() -> None:
    """Charalampidis 2016, as libjxl has it: three cosines, each by a recursion of second order."""
    sigma, radius = 1.5, 5
    omega = np.pi / (2 * radius) * np.array([1, 3, 5])
    sign = np.array([1, -1, 1])
    p = sign / np.tan(omega / 2)
    r = sign * p**2 / np.sin(omega)
    rho = np.exp(-0.5 * (sigma * omega) ** 2) / radius
    d_13, d_35, d_51 = (float(p[i] * r[j] - r[i] * p[j]) for i, j in ((0, 1), (1, 2), (2, 0)))
    zeta = np.array([d_35 / d_13, d_51 / d_13, 1.0])
    beta = np.linalg.solve(np.stack([p, r, zeta]), np.array([1, radius**2 - sigma**2, float(zeta @ rho)]))

    def row(n: int) -> float:
        return float(n == 0)

    out, before, second = [], np.zeros(3), np.zeros(3)
    for n in range(-radius + 1, radius):
        taken = row(n - radius - 1) + row(n + radius - 1)
        now = -taken * beta * np.cos(omega * (radius + 1)) + 2 * np.cos(omega) * before - second
        second, before = before, now
        out.append(now.sum())
    assert out == pytest.approx(list(_WINDOW), abs=1e-7)


def test_the_original_scores_100_and_its_psnr_is_infinite() -> None:
    picture = original("chelsea")
    assert ssimulacra2(picture, picture) == pytest.approx(100, abs=1e-3)
    assert psnr_hvs_m_db(picture, picture) is None
    hardly = picture.copy()
    hardly[100, 100, 2] ^= 1  # a step of blue that the 8-bit luma does not show
    assert psnr_hvs_m_db(picture, hardly) is None


def test_detail_hides_an_error() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    busy = np.random.default_rng(0).integers(64, 192, (64, 64, 1), dtype=np.uint8).repeat(3, axis=2)
    wave = np.round(4 * np.cos(np.arange(64) * np.pi / 4)).astype(int)[None, :, None]
    on_grey, on_busy = (psnr_hvs_m_db(one, (one + wave).astype(np.uint8)) for one in (grey, busy))
    assert on_grey is not None
    assert on_busy is not None
    assert on_busy > on_grey + 2


@pytest.mark.parametrize(("side", "exists"), [(113, True), (112, False)])
def test_ssimulacra2_exists_where_all_six_scales_do(side: int, exists: bool) -> None:
    picture = original("chelsea")[:side, :200]
    assert (ssimulacra2(picture, picture) is not None) == exists
