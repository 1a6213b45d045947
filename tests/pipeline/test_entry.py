"""How commands and stages log and fail, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGE = """
import logging
from pathlib import Path

from components.errors import RatewrightError
from pipeline.terminal import console
from pipeline.entry import stage

logger = logging.getLogger(__name__)


def run(root: Path, name: str) -> None:
    logger.debug(f"debug [bold] {name}")
    logger.info(f"info [bold] {'long ' * 40}{name}")
    logging.getLogger("components.data").info("info of a component")
    logging.getLogger("elsewhere").info("info of a library")
    logger.warning(f"warning {name}")
    console.print(f"output {name}")
    if name == "broken":
        raise RatewrightError("no such\\nthing")


stage(run)
"""
INFO = [f"info [bold] {'long ' * 40}wcae", "info of a component"]
WARNING = ["warning: warning wcae"]
OUTPUT = ["output wcae"]


def run_stage(*arguments: str, level: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "RATEWRIGHT_LOG"}
    if level is not None:
        environment["RATEWRIGHT_LOG"] = level
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", STAGE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize(
    ("arguments", "level", "lines"),
    [
        (["wcae"], None, INFO + WARNING + OUTPUT),
        (["wcae", "-v"], None, ["debug [bold] wcae", *INFO, *WARNING, *OUTPUT]),
        (["wcae"], "debug", ["debug [bold] wcae", *INFO, *WARNING, *OUTPUT]),
        (["-q", "wcae"], None, WARNING + OUTPUT),
        (["wcae"], "WARNING", WARNING + OUTPUT),
        (["wcae", "-v"], "warning", ["debug [bold] wcae", *INFO, *WARNING, *OUTPUT]),
    ],
)
def test_messages_by_level(arguments: list[str], level: str | None, lines: list[str]) -> None:
    done = run_stage(*arguments, level=level)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == lines


def test_an_unknown_level_is_refused_in_one_line() -> None:
    done = run_stage("wcae", level="loud")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: RATEWRIGHT_LOG is 'loud'; it can be debug, info, warning\n"


def test_an_error_is_one_line_on_standard_error() -> None:
    done = run_stage("broken", "-q")
    assert done.returncode == 2
    assert done.stderr == "error: no such thing\n"


ENDING = """
import atexit
import gc

from pipeline.terminal import guarded
from pipeline.entry import uncollected

atexit.register(lambda: print(gc.get_freeze_count() > 0))


def action() -> None:
    with uncollected():
        print(gc.isenabled())
    print(gc.isenabled())


guarded(action)
"""


def test_libraries_are_not_looked_through_for_garbage() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", ENDING], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    assert done.stdout.split() == ["False", "True", "True"]
