"""Progressive streams: rates to the byte, truncation, and streams that broke off."""

from pathlib import Path

import pytest

from components.arrays import Rgb
from components.codecs.bitstream import parse
from components.data.image_files import decode_rgb
from tests.pipeline.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("one_thread")
PROGRESSIVE = ("--checkpoint", "progressive.safetensors")


def test_a_rate_to_the_byte_and_less(cli: Cli, photograph: Rgb, tmp_path: Path) -> None:
    """compress --bpp, truncate by rate and by bytes, and the notes of info and decompress."""
    stream, shorter, picture = (str(tmp_path / name) for name in ("s.rw", "t.rw", "p.png"))
    height, width = photograph.shape[:2]
    cli.well("compress", "in.png", stream, "--bpp", "0.2", *PROGRESSIVE)
    assert Path(stream).stat().st_size == int(0.2 * height * width / 8)
    cli.well("truncate", stream, shorter, "--bpp", "0.1")
    data = Path(shorter).read_bytes()
    assert len(data) == int(0.1 * height * width / 8)
    assert cli.well("truncate", "-", "-", "--bytes", "300", stdin=data) == parse(data).truncate(300)
    assert cli.well("truncate", "-", "-", "--bytes", "99999", stdin=data) == data

    held, whole = len(parse(data).sections[0]), parse(data).full_length
    assert f"progressive {held} of {whole} bytes\n" in cli.well("info", shorter).decode()
    done = cli("decompress", shorter, picture, *PROGRESSIVE)
    assert (done.returncode, done.stderr.decode()) == (0, f"{shorter}: {held} of {whole} bytes\n")
    assert decode_rgb(Path(picture).read_bytes()).shape == photograph.shape
    assert cli.well("--quiet", "decompress", shorter, picture, *PROGRESSIVE) == b""

    broken = cli("decompress", "-", picture, *PROGRESSIVE, stdin=data[:-50])
    assert broken.returncode == 0
    assert broken.stderr.decode() == f"warning: -: {held - 50} of {whole} bytes: it broke off, no checksum holds\n"


def test_a_folder_says_which_streams_are_not_whole(cli: Cli, tmp_path: Path) -> None:
    streams = tmp_path / "streams"
    cli.well("compress", "in.png", str(streams / "whole.rw"), *PROGRESSIVE)
    data = (streams / "whole.rw").read_bytes()
    (streams / "broken.rw").write_bytes(data[:-20])
    done = cli("decompress", str(streams), str(tmp_path / "pictures"), *PROGRESSIVE)
    assert done.returncode == 0
    held, whole = len(parse(data[:-20]).sections[0]), parse(data).full_length
    said = f"warning: {streams / 'broken.rw'}: {held} of {whole} bytes: it broke off, no checksum holds\n"
    assert done.stderr.decode() == said
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["broken.png", "whole.png"]


def test_rates_that_cannot_be(cli: Cli) -> None:
    refused = cli.refused
    assert "'wcae' has the one rate" in refused(
        "compress", "in.png", "o.rw", "--bpp", "0.1", "--checkpoint", "c.safetensors"
    )
    for rate in ("0", "-1", "nan", "inf"):
        assert "positive number" in refused("compress", "in.png", "o.rw", "--bpp", rate, *PROGRESSIVE)
    assert "are too few for a picture" in refused("compress", "in.png", "o.rw", "--bpp", "0.001", *PROGRESSIVE)
    assert "'wcae' is not progressive" in refused("truncate", "good.rw", "o.rw", "--bytes", "200")
    assert "--bytes or with --bpp" in refused("truncate", "good.rw", "o.rw")
    assert "--bytes or with --bpp" in refused("truncate", "good.rw", "o.rw", "--bytes", "9", "--bpp", "1")
    assert "not a Ratewright bitstream" in refused("truncate", "in.png", "o.rw", "--bytes", "200")
