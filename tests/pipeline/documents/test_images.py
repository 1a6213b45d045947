"""Figures of every picture as CSV."""

from pathlib import Path

import pytest

from components.errors import RatewrightError
from pipeline.documents.images import ImageRow, read_images, write_images

ROW = ImageRow(
    test_set="kodak", point="at_target", image="1.png", width=768, height=512, bytes=900, bpp=0.018310546875,
    psnr_db=None, ssim=0.5, ms_ssim=None, swd=12.5, encode_s=0.25, decode_s=1e-05,
    ssimulacra2=61.5, psnr_hvs_m_db=None, ceiling_db=33.125,
)  # fmt: skip


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_images([ROW], tmp_path / "images.csv")
    assert read_images(tmp_path / "images.csv") == [ROW]
    assert (tmp_path / "images.csv").read_text().splitlines() == [
        "test_set,point,image,width,height,bytes,bpp,psnr_db,ssim,ms_ssim,swd,encode_s,decode_s,"
        "ssimulacra2,psnr_hvs_m_db,ceiling_db",
        "kodak,at_target,1.png,768,512,900,0.018310546875,,0.5,,12.5,0.25,1e-05,61.5,,33.125",
    ]


def test_a_wrong_cell_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.csv"
    write_images([ROW, ROW], path)
    path.write_text(path.read_text()[::-1].replace("215", "tsom", 1)[::-1])
    with pytest.raises(RatewrightError, match=r"images\.csv, row 2: height: .*\(got 'most'\)") as raised:
        read_images(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(RatewrightError, match=r"gone\.csv is missing"):
        read_images(tmp_path / "gone.csv")
