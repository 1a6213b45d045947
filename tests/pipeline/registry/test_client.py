"""The tracking database of a checkout."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Clone = tuple[Path, dict[str, str]]


def test_processes_that_start_together_make_one_database(new_clone: Callable[[], Clone]) -> None:
    folder, environment = new_clone()
    program = (
        "from pathlib import Path; from pipeline.registry.client import client; client(Path.cwd()).search_experiments()"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    for process in started:
        _, said = process.communicate(timeout=180)
        assert process.returncode == 0, said.decode()
