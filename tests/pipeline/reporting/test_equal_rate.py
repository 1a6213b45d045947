import json
from pathlib import Path

import pytest

from pipeline.reporting.equal_rate import CLASSICS, EqualRate, compare

REAL = Path(__file__).parents[3] / "results" / "real"
PIXELS = 512 * 512


@pytest.mark.usefixtures("one_thread")
def test_every_codec_comes_near_the_rate_from_below() -> None:
    found, drawing = compare(REAL / "champion.safetensors", "haar_hyper_long", 0.15)
    assert [version.codec for version in found.versions] == ["haar_hyper_long", *CLASSICS]
    for version in found.versions:
        assert 0.95 * 0.15 < 8 * version.bytes / PIXELS <= 0.15
    assert len(drawing.axes) == 1 + len(found.versions)
    for version, axes in zip(found.versions, drawing.axes[1:], strict=True):
        assert f"{version.bytes:,} bytes, {version.psnr_db:.2f} dB" in axes.get_title(loc="left")
    kept = EqualRate.from_json(json.loads((REAL / "equal_rate.json").read_text()))
    for version, before in zip(found.versions, kept.versions, strict=True):
        assert version.psnr_db == pytest.approx(before.psnr_db, abs=0.05)


def test_figures_survive_their_file() -> None:
    text = (REAL / "equal_rate.json").read_text()
    assert EqualRate.from_json(json.loads(text)).as_json() == json.loads(text) | {
        "versions": tuple(json.loads(text)["versions"])
    }
