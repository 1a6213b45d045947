"""Start-up time: processor seconds of each kind of stage beside its work. The peer is `python -c "import torch"`.

A process that runs a stage twice starts once and works twice. So a start is twice the time of a process that runs the
stage once, less the time of one that runs it twice. Start and end of a process, imports and the opening of MLflow's
database are in it. A fork is what `ratewright repro` runs a stage in: of a process that has loaded the libraries of all
stages, once. The stages run in a temporary folder, on the bundled photographs, with a training of few steps:

    python -m benchmarks.startup --rounds 3
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.common import command_line, console
from pipeline.config import params
from pipeline.config.profiles import write_profile
from pipeline.paths import CHECKOUT

VARIANT, BASELINE = "wcae", "jpeg"
DATA = ("bundled-train", "bundled-calibration", "bundled-test")
STAGES = {
    "fetch": ("fetch", "bundled-test"),
    "shard": ("shard", "bundled-train"),
    "train": ("train", VARIANT),
    "calibrate": ("calibrate", VARIANT),
    "evaluate": ("evaluate", VARIANT),
    "evaluate a classic codec": ("evaluate", BASELINE),
    "choose": ("choose",),
    "report": ("report",),
    "register": ("register",),
}
"""The kinds of stages, each with a module and its arguments, in an order in which they can run."""

_REPEATED = """
import sys
from importlib import import_module
from pipeline.entry import stage
module, times = sys.argv.pop(1), int(sys.argv.pop(1))
run = import_module(f"pipeline.stages.{module}").run
def repeated(*arguments):
    for _ in range(times):
        run(*arguments)
stage(repeated)
"""


_FORKED = """
import os, resource
from pipeline.paths import CHECKOUT
from pipeline.schedule.local import warm_stages
warm_stages.load(CHECKOUT, warm_stages.FEWEST)
if os.fork():
    assert os.wait()[1] == 0
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(used.ru_utime + used.ru_stime)
    os._exit(0)
"""


def python(root: Path, *arguments: str) -> tuple[str, float]:
    """Run Python; returns the last line of its output, and its processor seconds with those of what it starts."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = (sys.executable, *arguments)
    done = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (done.stdout.splitlines() or [""])[-1], spent


def in_a_process(root: Path, times: int, module: str, *arguments: str) -> float:
    """Processor seconds of a new Python that runs a stage `times` times."""
    return python(root, "-c", _REPEATED, module, str(times), *arguments)[1]


def in_a_fork(root: Path, times: int, module: str, *arguments: str) -> float:
    """Processor seconds of a fork that runs a stage `times` times."""
    return float(python(root, "-c", _FORKED + _REPEATED, module, str(times), *arguments)[0])


def start_and_work(
    way: Callable[..., float], rounds: int, root: Path, module: str, *arguments: str
) -> tuple[float, float]:
    """Processor seconds of a stage's start and of its work, each from medians."""
    once = statistics.median(way(root, 1, module, *arguments) for _ in range(rounds))
    start = 2 * once - statistics.median(way(root, 2, module, *arguments) for _ in range(rounds))
    return start, once - start


def prepare(root: Path) -> None:
    """Write a small params.yaml, and fetch its data."""
    (root / "profiles").symlink_to(CHECKOUT / "profiles")
    write_profile(root, "small", mirror=None)
    yaml = YAML()
    document = yaml.load(root / params.FILE)
    document["variants"] = {VARIANT: document["variants"][VARIANT]}
    document["variants"][VARIANT]["train"] |= {"steps": 16, "validate_every": 8}
    document["shards"]["patches_per_image"] = 4
    document |= {"baselines": [BASELINE], "fine_tuned": {}, "efforts": {}}
    yaml.dump(document, root / params.FILE)
    for name in DATA:
        in_a_process(root, 1, "fetch", name)


def main() -> None:
    """Print the seconds of each stage's start, of its work, and the start in units of the peer."""
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, of which the median counts")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root)
        peer = statistics.median(python(root, "-c", "import torch")[1] for _ in range(rounds))
        console.print(f"processor seconds of whole processes; import torch {peer:.2f} s")
        for name, (module, *arguments) in STAGES.items():
            in_a_process(root, 1, module, *arguments)  # the first run makes MLflow's database
            start, work = start_and_work(in_a_process, rounds, root, module, *arguments)
            forked, _ = start_and_work(in_a_fork, rounds, root, module, *arguments)
            console.print(
                f"  {name}: start {start:.2f} s, ratio {start / peer:.2f}; in a fork {forked:.2f} s; work {work:.2f} s"
            )


if __name__ == "__main__":
    main()
