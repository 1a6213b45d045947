"""Bad streams, pictures, paths and options: one line, exit code 2, no file."""

import struct
import zlib

import pytest

from components.codecs.bitstream import parse
from tests.pipeline.cli.conftest import Cli

pytestmark = pytest.mark.usefixtures("one_thread")


def test_bad_streams(cli: Cli) -> None:
    good = (cli.cwd / "good.rw").read_bytes()
    edited = bytearray(good)
    edited[len(good) // 2] ^= 4
    parsed = parse(good)
    huge = (
        b"RW\x01\x04wcae"
        + parsed.model_hash
        + b"\x80\x80\x04" * 2
        + b"\x01\x03"
        + struct.pack("<I", zlib.crc32(b"abc"))
    )
    huge += struct.pack("<I", zlib.crc32(huge)) + b"abc"
    for data, why in (
        (good[:-1], "truncated"),
        (good[:10], "truncated"),
        (bytes(edited), "corrupted"),
        (huge, "more than 134217728 pixels"),
        (b"", "truncated"),
        (b"text, not a stream\n", "not a Ratewright bitstream"),
    ):
        assert why in cli.refused("decompress", "-", "out.png", "--checkpoint", "c.safetensors", stdin=data)
    for data in (bytes(edited), b"text"):
        cli.refused("info", "-", stdin=data)


@pytest.mark.parametrize(
    ("other", "why"),
    [("other.safetensors", "written by codec 'wcae', not 'nowcae'"), ("twin.safetensors", "written by model")],
)
def test_a_checkpoint_that_did_not_write_the_stream(cli: Cli, other: str, why: str) -> None:
    assert why in cli.refused("decompress", "good.rw", "out.png", "--checkpoint", other)


def test_bad_pictures_and_paths(cli: Cli) -> None:
    codec = ("--checkpoint", "c.safetensors")
    assert "not a picture" in cli.refused("compress", "-", "out.rw", *codec, stdin=b"only text\n" * 20)
    whole = (cli.cwd / "in.png").read_bytes()
    assert "cannot be decoded" in cli.refused("compress", "-", "out.rw", *codec, stdin=whole[: len(whole) // 2])
    large = bytearray(whole)
    struct.pack_into(">II", large, 16, 12000, 12000)
    struct.pack_into(">I", large, 29, zlib.crc32(large[12:29]))
    assert "12000x12000 pixels are more" in cli.refused("compress", "-", "out.rw", *codec, stdin=bytes(large))
    assert "none.png" in cli.refused("compress", "none.png", "out.rw", *codec)
    assert "none.safetensors" in cli.refused("compress", "in.png", "out.rw", "--checkpoint", "none.safetensors")
    assert "not a readable checkpoint" in cli.refused("compress", "in.png", "out.rw", "--checkpoint", "in.png")


def test_verbose_and_quiet_exclude_each_other(cli: Cli) -> None:
    assert "exclude each other" in cli.refused("-v", "-q", "info", "good.rw")


def test_which_codec_must_be_said_once(cli: Cli) -> None:
    both = ("--model", "models:/m/1", "--checkpoint", "c.safetensors")
    assert "--model or with --checkpoint" in cli.refused("compress", "in.png", "out.rw", *both)
    assert "not with both" in cli.refused("decompress", "good.rw", "out.png", *both)
