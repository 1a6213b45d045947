"""`ratewright` in processes that start fast, with checkpoints, a picture and a stream beside it."""

import json
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

ROOT = Path(__file__).parents[3]
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
    started = Cli(cwd, tmp_path_factory.mktemp("scratch"), LearnedCoder(codec))
    yield started
    started.close()
