import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from components.arrays import Rgb
from components.evaluation.measure import measure
from components.evaluation.results import RatePoint, summarise
from tests.components.evaluation.coders import Coarse, Zip


def test_a_set_is_total_over_total(photographs: list[Rgb]) -> None:
    pictures = [("large", photographs[0]), ("small", photographs[1][:24, :40])]
    results = measure(Coarse(), pictures)
    point = summarise(results)
    pixels = [rgb.shape[0] * rgb.shape[1] for _, rgb in pictures]
    sizes = [len(Coarse().encode(rgb)) for _, rgb in pictures]
    assert (point.images, point.pixels, point.bytes) == (2, sum(pixels), sum(sizes))
    assert point.bpp == 8 * sum(sizes) / sum(pixels)
    assert point.bpp_mean == pytest.approx(sum(8 * s / p for s, p in zip(sizes, pixels, strict=True)) / 2)
    assert point.bpp != pytest.approx(point.bpp_mean, rel=0.01)
    assert point.psnr_db == pytest.approx(np.mean([r.psnr_db for r in results]))
    assert point.ssim == pytest.approx(np.mean([r.ssim for r in results]))
    assert point.swd == pytest.approx(np.mean([r.swd for r in results]))
    assert point.swd is not None
    assert point.swd > 0
    assert point.psnr_hvs_m_db == pytest.approx(np.mean([r.psnr_hvs_m_db for r in results]))
    errors = [np.square(rgb - Coarse().decode(Coarse().encode(rgb)).astype(float)) for _, rgb in pictures]
    mean = sum(map(np.sum, errors)) / sum(error.size for error in errors)
    assert point.pooled_psnr_db == pytest.approx(10 * np.log10(255**2 / mean))
    assert point.encode_s_per_mpx == pytest.approx(1e6 * sum(r.encode_s for r in results) / sum(pixels))
    assert point.decode_s_per_mpx == pytest.approx(1e6 * sum(r.decode_s for r in results) / sum(pixels))


def test_a_figure_that_does_not_exist_says_why(photographs: list[Rgb]) -> None:
    results = measure(Coarse(), [("fine", photographs[0]), ("tiny", photographs[0][:8, :8])])
    assert results[0].ms_ssim is None
    assert results[1].ssim is None
    point = summarise(results)
    assert point.psnr_db is not None
    assert point.psnr_db_why is None
    assert point.ssim is None
    assert (point.ssim_why or "").startswith("tiny: ")
    assert (point.swd_why or "").startswith("tiny: 8x8 is too small")
    assert (point.ms_ssim_why or "").startswith("fine: "), "the first picture that lacks it"

    lossless = summarise(measure(Zip(), [("same", photographs[0])]))
    assert lossless.psnr_db is None
    assert lossless.psnr_db_why == "same: infinite: the pictures are identical"
    assert lossless.ssim == pytest.approx(1)
    assert lossless.pooled_psnr_db is None
    assert lossless.pooled_psnr_db_why == "infinite: all pictures are identical"
    mixed = summarise([*results[:1], *measure(Zip(), [("same", photographs[0])])])
    assert mixed.psnr_db is None
    assert mixed.pooled_psnr_db == pytest.approx((results[0].psnr_db or 0) + 10 * np.log10(2))
    assert lossless.swd == 0


def test_results_are_frozen(photographs: list[Rgb]) -> None:
    (result,) = measure(Zip(), [("a", photographs[0])])
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.bpp = 0.0  # type: ignore[misc]


def test_a_point_in_json_has_reasons_beside_null_alone(photographs: list[Rgb]) -> None:
    point = summarise(measure(Coarse(), [("fine", photographs[0])]))
    document = point.model_dump()
    assert list(document) == [
        *("images", "pixels", "bytes", "bpp", "bpp_mean", "psnr_db", "pooled_psnr_db", "ssim", "ms_ssim"),
        *("ms_ssim_why", "swd", "ssimulacra2", "psnr_hvs_m_db", "encode_s_per_mpx", "decode_s_per_mpx"),
    ]
    assert document["ms_ssim"] is None
    assert RatePoint.model_validate(document) == point
    older = {key: document[key] for key in document if key not in ("pooled_psnr_db", "ssimulacra2", "psnr_hvs_m_db")}
    assert RatePoint.model_validate(older).model_dump() == older
    tiny = summarise(measure(Coarse(), [("tiny", photographs[0][:8, :8])])).model_dump()
    assert tiny["ssimulacra2"] is None
    assert "too small" in tiny["ssimulacra2_why"]
    with pytest.raises(ValidationError):
        RatePoint.model_validate({**document, "psnr": 30.0})
