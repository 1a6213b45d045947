"""The commands on single files: exit codes, standard error, and the files afterwards."""

from pathlib import Path

import numpy as np
import pytest

from components.arrays import Rgb
from components.codecs.bitstream import parse
from components.data.image_files import decode_rgb, encode_png
from components.errors import RatewrightError
from pipeline.cli.coding import compress
from tests.pipeline.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("one_thread")


def test_compress_and_decompress(cli: Cli, photograph: Rgb, tmp_path: Path) -> None:
    stream, picture = tmp_path / "new" / "s.rw", tmp_path / "p.png"
    assert cli.well("compress", "in.png", str(stream), "--checkpoint", "c.safetensors") == b""
    assert stream.read_bytes() == cli.coder.encode(photograph)
    cli.well("decompress", str(stream), str(picture), "--checkpoint", "c.safetensors")
    decoded = decode_rgb(picture.read_bytes())
    assert decoded.shape == photograph.shape
    assert np.array_equal(decoded, cli.coder.decode(stream.read_bytes()))


def test_fresh_processes(cli: Cli, photograph: Rgb, tmp_path: Path) -> None:
    """New processes in place of the forks of other tests: one succeeds, one fails."""
    codec = ("--checkpoint", "c.safetensors")
    done = cli.fresh("compress", "-", "-", *codec, stdin=encode_png(photograph))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == cli.coder.encode(photograph)
    bad = cli.fresh("decompress", "-", str(tmp_path / "p.png"), *codec, stdin=done.stdout[:-1])
    assert bad.returncode == 2
    assert bad.stderr == b"error: standard input: truncated bitstream: the payload is shorter than the header says\n"
    assert (bad.stdout, list(tmp_path.iterdir())) == (b"", [])


def test_standard_input_and_output(cli: Cli, photograph: Rgb) -> None:
    stream = cli.well("compress", "-", "-", "--checkpoint", "c.safetensors", stdin=encode_png(photograph))
    assert stream == cli.coder.encode(photograph)
    picture = cli.well("decompress", "-", "-", "--checkpoint", "c.safetensors", stdin=stream)
    assert np.array_equal(decode_rgb(picture), cli.coder.decode(stream))


def test_info(cli: Cli, photograph: Rgb) -> None:
    data = cli.coder.encode(photograph)
    said = cli.well("info", "-", stdin=data).decode()
    parsed = parse(data)
    assert "wcae (format version 1)" in said
    assert parsed.model_hash.hex() in said
    assert f"{parsed.width}x{parsed.height}" in said
    assert f"{len(data)} ({8 * len(data) / (parsed.width * parsed.height):.4f} bpp)" in said


def test_an_old_output_survives_a_bad_input(cli: Cli, tmp_path: Path) -> None:
    kept = tmp_path / "kept.png"
    kept.write_bytes(b"old")
    cli.refused("decompress", "-", str(kept), "--checkpoint", "c.safetensors", stdin=b"RW\x01")
    assert kept.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [kept]


def test_a_codec_must_be_named_where_the_checkout_keeps_none(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cli.codec_lookup.REFERENCE_CHECKPOINT", tmp_path / "none.safetensors")
    with pytest.raises(RatewrightError, match="name the codec with --model or with --checkpoint"):
        compress(str(cli.cwd / "in.png"), str(tmp_path / "out.rw"))
    assert not list(tmp_path.iterdir())


def test_help(cli: Cli) -> None:
    said = cli.well("--help").decode()
    for command in ("compress", "decompress", "truncate", "info", "use", "rollback"):
        assert command in said
    assert "--checkpoint" in cli.well("compress", "--help").decode()


@pytest.mark.parametrize(
    "arguments",
    [("compress",), ("compress", "in.png", "out.rw", "--chekpoint", "c.safetensors"), ("explode",), ("info", "a", "b")],
)
def test_a_mistyped_command_shows_the_usage(cli: Cli, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    said = done.stderr.decode().splitlines()
    assert said[0].startswith("Usage: ")
    assert said[-1].startswith("Error: ")
