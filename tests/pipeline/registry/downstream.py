"""A downstream team's process, which knows neither the checkout nor its PYTHONPATH."""

import os
import subprocess
import sys
from pathlib import Path


def run_downstream(program: str, *arguments: str, cwd: Path, **environment: str) -> list[str]:
    """The lines that a program prints in an isolated Python; a failed one fails the test."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, *arguments],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
