"""The command line in processes of its own: exit codes, standard error, and the files afterwards."""

import json
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.bitstream import parse
from components.codecs.coder import LearnedCoder
from components.data.image_files import decode_rgb, encode_png
from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.cli.coding import compress, decompress
from pipeline.cli.files import convert, shared_cores

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[2]
PARENT = """
import json, os, sys
import torch
torch.set_num_threads(1)
import components.codecs.table, components.evaluation.measure, components.data.image_files, components.storage.sources
import components.codecs.variants.wcae, components.codecs.variants.nowcae, components.codecs.checkpoint
import safetensors.torch
from pipeline.cli import main

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for number, (name, flags) in enumerate([("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY)]):
            os.dup2(os.open(f"{sys.argv[1]}/{name}", flags), number)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        sys.argv = ["ratewright", *json.loads(line)]
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Cli:
    """`ratewright` in the folder `cwd`, with checkpoints, a picture and a stream in it.

    A call forks a process that has torch imported already: a fresh one takes seconds to start.
    """

    def __init__(self, cwd: Path, scratch: Path, coder: LearnedCoder):
        self.cwd, self.scratch, self.coder = cwd, scratch, coder
        self.environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(scratch)],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self.parent.communicate()

    def fresh(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """In a process of its own, from the start."""
        return subprocess.run(
            [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments],
            cwd=self.cwd,
            env=self.environment,
            input=stdin,
            capture_output=True,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        for name, data in (("in", stdin), ("out", b""), ("err", b"")):
            (self.scratch / name).write_bytes(data)
        self.parent.stdin.write(json.dumps(arguments) + "\n")
        self.parent.stdin.flush()
        code = int(self.parent.stdout.readline())
        out, err = ((self.scratch / name).read_bytes() for name in ("out", "err"))
        return subprocess.CompletedProcess(arguments, code, out, err)

    def well(self, *arguments: str, stdin: bytes = b"") -> bytes:
        done = self(*arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        return done.stdout

    def refused(self, *arguments: str, stdin: bytes = b"") -> str:
        """Exit code 2, one line on standard error, nothing on standard output, no file more than before."""
        before = sorted(self.cwd.rglob("*"))
        done = self(*arguments, stdin=stdin)
        said = done.stderr.decode()
        assert done.returncode == 2, said
        assert said.startswith("error: ")
        assert said.count("\n") == 1, said
        assert "Traceback" not in said
        assert done.stdout == b""
        assert sorted(self.cwd.rglob("*")) == before, "no output file is left"
        return said


@pytest.fixture(scope="module")
def cli(make_codec: Callable[..., Codec], photograph: Rgb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    cwd = tmp_path_factory.mktemp("cli")
    codec = make_codec("wcae")
    checkpoint.save(codec, cwd / "c.safetensors")
    checkpoint.save(make_codec("nowcae"), cwd / "other.safetensors")
    checkpoint.save(make_codec("wcae", seed=1), cwd / "twin.safetensors")
    checkpoint.save(make_codec("atc_progressive"), cwd / "progressive.safetensors")
    (cwd / "in.png").write_bytes(encode_png(photograph))
    (cwd / "good.rw").write_bytes(LearnedCoder(codec).encode(photograph))
    started = Cli(cwd, tmp_path_factory.mktemp("scratch"), LearnedCoder(codec))
    yield started
    started.close()


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


def test_a_folder(cli: Cli, photographs: list[Rgb], tmp_path: Path) -> None:
    pictures, streams, decoded = (tmp_path / name for name in ("pictures", "streams", "decoded"))
    pictures.mkdir()
    for k, rgb in enumerate(photographs[:4]):
        (pictures / f"{k}.{'PNG' if k == 0 else 'png'}").write_bytes(encode_png(rgb))
    (pictures / "3.bmp").write_bytes((pictures / "2.png").read_bytes())  # another file of the same stem
    (pictures / "notes.txt").write_text("not a picture, and not asked for")
    cli.well("compress", str(pictures), str(streams), "--checkpoint", "c.safetensors")
    assert {p.name for p in streams.iterdir()} == {"0.PNG.rw", "1.png.rw", "2.png.rw", "3.png.rw", "3.bmp.rw"}
    for k, name in enumerate(("0.PNG.rw", "1.png.rw", "2.png.rw", "3.png.rw")):
        assert (streams / name).read_bytes() == cli.coder.encode(photographs[k])
    cli.well("decompress", str(streams), str(decoded), "--checkpoint", "c.safetensors")
    assert len(list(decoded.iterdir())) == 5
    expected = cli.coder.decode(cli.coder.encode(photographs[1]))
    assert np.array_equal(decode_rgb((decoded / "1.png.png").read_bytes()), expected)


def test_the_threads_of_a_folder_load_a_model_once(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, load, streams = [], checkpoint.load, tmp_path / "streams"
    for k in range(4):
        write_bytes(streams / f"{k}.rw", (cli.cwd / "good.rw").read_bytes())

    def slowly(path: Path, **options: str) -> tuple[Codec, dict[str, Any]]:
        loads.append(path)
        time.sleep(0.2)
        return load(path, **options)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr("components.codecs.deployed.load", slowly)
    monkeypatch.setattr("pipeline.cli.codec_lookup.REFERENCE_CHECKPOINT", cli.cwd / "c.safetensors")
    decompress(str(streams), str(tmp_path / "pictures"))
    assert len(list((tmp_path / "pictures").iterdir())) == 4
    assert loads == [cli.cwd / "c.safetensors"]


@pytest.mark.parametrize(("cores", "files", "threads"), [(4, 6, 1), (4, 2, 2), (4, 1, 4)])
def test_the_threads_of_a_folder_share_the_cores(
    cores: int, files: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its share of torch's threads, and one of BLAS; afterwards the process has what it had."""
    for k in range(files):
        write_bytes(tmp_path / "in" / f"{k}.a", b"")
    seen = []

    def look(_: str, data: bytes) -> bytes:
        time.sleep(0.05)
        blas = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
        seen.append((threading.get_ident(), torch.get_num_threads(), blas))
        return data

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    torch.set_num_threads(cores)
    with threadpool_limits(2, user_api="blas"):
        convert(str(tmp_path / "in"), str(tmp_path / "out"), look, (".a",), ".b", shared_cores)
        assert {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"} == {2}
    assert torch.get_num_threads() == cores
    assert len({thread for thread, _, _ in seen}) == min(files, cores)
    assert [found for _, found, _ in seen] == [threads] * files
    assert all(blas == {1} for _, _, blas in seen)


def test_a_folder_with_a_bad_file_does_the_others(cli: Cli, photographs: list[Rgb], tmp_path: Path) -> None:
    pictures, streams = tmp_path / "pictures", tmp_path / "streams"
    pictures.mkdir()
    for k, rgb in enumerate(photographs[:2]):
        (pictures / f"{k}.png").write_bytes(encode_png(rgb))
    (pictures / "bad.png").write_text("text")
    said = cli.refused("compress", str(pictures), str(streams), "--checkpoint", "c.safetensors")
    assert "1 of 3 files failed" in said
    assert "bad.png" in said
    assert {p.name for p in streams.iterdir()} == {"0.rw", "1.rw"}


def test_an_empty_folder(cli: Cli, tmp_path: Path) -> None:
    assert "no .png" in cli.refused("compress", str(tmp_path), str(tmp_path / "o"), "--checkpoint", "c.safetensors")


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


def test_verbose_and_quiet_exclude_each_other(cli: Cli) -> None:
    assert "exclude each other" in cli.refused("-v", "-q", "info", "good.rw")


def test_which_codec_must_be_said_once(cli: Cli) -> None:
    both = ("--model", "models:/m/1", "--checkpoint", "c.safetensors")
    assert "--model or with --checkpoint" in cli.refused("compress", "in.png", "out.rw", *both)
    assert "not with both" in cli.refused("decompress", "good.rw", "out.png", *both)


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
