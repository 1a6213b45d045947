"""Python programs in processes of their own that start fast: forks of one that has imported what takes long."""

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PARENT = """
import gc, importlib, json, os, runpy, sys

scratch, *modules = sys.argv[1:]
for module in modules:
    importlib.import_module(module)
gc.freeze()  # or forks that collect garbage copy all of this
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        for number, (name, flags) in enumerate([("in", os.O_RDONLY), ("out", os.O_WRONLY), ("err", os.O_WRONLY)]):
            os.dup2(os.open(f"{scratch}/{name}", flags), number)
        sys.stdin = open(0)
        folder, environment, sys.argv = json.loads(line)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
        try:
            if sys.argv[0] == "-c":
                exec(sys.argv.pop(1), {"__name__": "__main__"})
            else:
                runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


LONGEST_S = 1800.0
"""Longest time that a program may take, on a machine that has much else to do."""


class Forks:
    """Runs one program at a time in a fork of `parent`: a module as `python -m` does, or with "-c" first a text.

    Args:
        parent: A process of PARENT.
        scratch: The folder that PARENT was given, for what goes in and out.
        environment: What programs have that are not told otherwise.
    """

    def __init__(self, parent: "subprocess.Popen[str]", scratch: Path, environment: dict[str, str]):
        self._parent, self._scratch, self.environment = parent, scratch, environment

    def __call__(
        self, *arguments: str, cwd: Path, environment: dict[str, str] | None = None, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """What a program said that ran in the folder `cwd`, and its exit code."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        for name, data in (("in", stdin), ("out", b""), ("err", b"")):
            (self._scratch / name).write_bytes(data)
        request = [str(cwd), self.environment if environment is None else environment, arguments]
        self._parent.stdin.write(json.dumps(request) + "\n")
        self._parent.stdin.flush()
        if not select.select([self._parent.stdout], [], [], LONGEST_S)[0]:
            self._parent.kill()
            raise TimeoutError(f"longer than {LONGEST_S} s: {' '.join(arguments)}")
        code = int(self._parent.stdout.readline())
        out, err = ((self._scratch / name).read_bytes() for name in ("out", "err"))
        return subprocess.CompletedProcess(arguments, code, out, err)

    def well(self, *arguments: str, cwd: Path, environment: dict[str, str] | None = None) -> str:
        """What a program said; one that fails fails the test, which shows it."""
        done = self(*arguments, cwd=cwd, environment=environment)
        said = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == 0, f"{' '.join(arguments)}\n{said}"
        return said


@contextmanager
def forks(environment: dict[str, str], imports: Sequence[str]) -> Iterator[Forks]:
    """Processes forked from one that has imported the modules `imports` and ends with the context."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-c", PARENT, scratch, *imports]
        with subprocess.Popen(
            command, cwd=scratch, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as parent:
            try:
                yield Forks(parent, Path(scratch), environment)
            finally:
                parent.communicate()
