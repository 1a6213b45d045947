from pathlib import Path
from random import Random

import pytest

from benchmarks import leaks
from components.data.image_files import decode_rgb
from tests.components.data.validation.made import bundled, png


def test_a_leak_has_the_area_and_scale_that_it_says() -> None:
    rgb = bundled("coffee.png")
    for seed in range(5):
        content, (scale, quality, turns, _) = leaks.make_leak(rgb, 0.5, Random(seed))
        height, width = decode_rgb(content).shape[:2]
        assert height * width / scale**2 == pytest.approx(0.5 * rgb.shape[0] * rgb.shape[1], rel=0.05)
        assert 30 <= quality <= 95
        assert turns in range(4)


def test_it_prints_recall_and_false_alarms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, names in (("test", ("astronaut.png", "chelsea.png")), ("train", ("camera.png", "chelsea.png"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).write_bytes(png(bundled(name)))
    monkeypatch.setattr(leaks, "AREAS", ((1.0, 1.0),))
    arguments = ["--held-out", str(tmp_path / "test"), "--training", str(tmp_path / "train")]
    monkeypatch.setattr("sys.argv", ["leaks", *arguments])
    leaks.main()
    said = capsys.readouterr().out
    assert "2 training pictures against 2: 1 leaks" in said
    assert f"{tmp_path}/train/chelsea.png shows {tmp_path}/test/chelsea.png" in said
    assert "100% of the area: 2 of 2 leaks found (100.0%), 0 named beside them" in said
