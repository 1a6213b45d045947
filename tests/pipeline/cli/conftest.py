"""`ratewright` in processes that start fast, with checkpoints, a picture and a stream beside it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.arrays import Rgb
from components.codecs import checkpoint
from components.codecs.base import Codec
from components.codecs.coder import LearnedCoder
from components.data.image_files import encode_png
from tests.forks import Forks, forks

ROOT = Path(__file__).parents[3]
IMPORTS = (
    "pipeline.cli",
    "components.codecs.checkpoint",
    "components.codecs.table",
    "components.codecs.variants.nowcae",
    "components.codecs.variants.wcae",
    "components.data.image_files",
    "components.evaluation.measure",
    "components.storage.sources",
    "safetensors.torch",
)
"""What the commands import when they run."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Cli:
    """`ratewright` in the folder `cwd`, with checkpoints, a picture and a stream in it."""

    def __init__(self, cwd: Path, coder: LearnedCoder, python: Forks):
        self.cwd, self.coder, self._python = cwd, coder, python

    def fresh(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """In a process of its own, from the start."""
        return subprocess.run(
            [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments],
            cwd=self.cwd,
            env=ENVIRONMENT,
            input=stdin,
            capture_output=True,
            check=False,
        )

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return self._python("pipeline.cli", *arguments, cwd=self.cwd, stdin=stdin)

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


@pytest.fixture(scope="session")
def cli(make_codec: Callable[..., Codec], photograph: Rgb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    cwd = tmp_path_factory.mktemp("cli")
    codec = make_codec("wcae")
    checkpoint.save(codec, cwd / "c.safetensors")
    checkpoint.save(make_codec("nowcae"), cwd / "other.safetensors")
    checkpoint.save(make_codec("wcae", seed=1), cwd / "twin.safetensors")
    checkpoint.save(make_codec("atc_progressive"), cwd / "progressive.safetensors")
    (cwd / "in.png").write_bytes(encode_png(photograph))
    (cwd / "good.rw").write_bytes(LearnedCoder(codec).encode(photograph))
    with forks(ENVIRONMENT, IMPORTS) as python:
        yield Cli(cwd, LearnedCoder(codec), python)
