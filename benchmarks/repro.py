"""`ratewright repro` beside its peer, `dvc repro`: a cold run of the small profile, and the cost of a stage.

    python -m benchmarks.repro                                        # the whole profile: half an hour on two cores
    python -m benchmarks.repro --stages shard --plot cores.svg        # the data alone: a minute
    python -m benchmarks.repro --rounds 3 --peer e4e403b              # beside the last commit without the runner

Both run in fresh clones of the commit that is checked out; the peer may be of another one. The plot shows what each
slot did when, in the last round. The costs are processor seconds, those of the command included, of stages that do
nothing but `echo`.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from statistics import median
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from benchmarks.common import command_line, console
from components.storage.atomic import read_json
from pipeline.paths import CHECKOUT
from pipeline.reporting.style import LEARNED, STYLE, WIDTH

SINGLE = 5
"""Stages that a DVC process each runs."""


def environment(root: Path) -> dict[str, str]:
    """The variables of a command in a clone: this Python's programs, the clone's modules."""
    variables = {**os.environ, "PYTHONPATH": str(root), "DVC_NO_ANALYTICS": "1"}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    for name in ("MLFLOW_TRACKING_URI", "OMP_NUM_THREADS"):
        variables.pop(name, None)
    return variables


def run(root: Path, *command: str) -> tuple[float, float]:
    """Run a command in a clone; returns its seconds and its processor seconds, with all that it started."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, cwd=root, env=environment(root), check=True, stdout=subprocess.DEVNULL)
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratewright(*arguments: str) -> tuple[str, ...]:
    """The command line of `ratewright repro`."""
    return (sys.executable, "-m", "pipeline.cli", "repro", *arguments)


def fresh_clone(root: Path, commit: str = "HEAD") -> Path:
    """A clone at a commit, with the small profile, which is what each commit has in params.yaml."""
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(root)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=root, check=True)
    return root


def recorded(root: Path) -> dict[str, Any]:
    """What dvc.lock says of the stages without figures that a clock gave."""
    stages = YAML(typ="safe").load(root / "dvc.lock")["stages"]
    timed = ("evaluate", "choose", "report", "register")
    return {name: each for name, each in stages.items() if not name.startswith(timed)}


def draw(times: dict[str, Any], to: Path) -> None:
    """Draw what each slot did when."""
    began = min(each["started"] for each in times.values())
    end = max(each["started"] + each["seconds"] for each in times.values()) - began
    slots = 1 + max(slot for each in times.values() for slot in each["slots"])
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1 + 0.9 * slots), layout="constrained")
        axes = figure.subplots()
        for name, each in times.items():
            for slot in each["slots"]:
                start = each["started"] - began
                axes.barh(slot, each["seconds"], left=start, height=0.9, color=LEARNED, edgecolor="white")
                if each["seconds"] > end / 60:  # wide enough for its name
                    axes.text(start, slot, name, rotation=90, fontsize=5, color="white", va="center", clip_on=True)
        axes.set(xlabel="seconds", yticks=range(slots), ylabel="slot", title="what each slot did")
        figure.savefig(to)


def idle_clone(root: Path) -> Path:
    """A fresh clone whose stages do nothing but write a line into each of their outputs."""
    yaml = YAML(typ="safe")
    document = yaml.load(fresh_clone(root) / "dvc.yaml")
    for stage in document["stages"].values():
        body = stage.get("do", stage)
        outputs = [*body["outs"], *body.get("metrics", ())]
        body["cmd"] = "; ".join(f"mkdir -p $(dirname {path}); echo 1 > {path}" for path in outputs)
    document.pop("plots")
    yaml.dump(document, root / "dvc.yaml")
    return root


def cost(folder: Path) -> None:
    """Print the processor seconds of a stage that does nothing, with each of three ways to run it."""
    _, ours = run(parallel := idle_clone(folder / "parallel"), *ratewright())
    _, peer = run(idle_clone(folder / "single"), "dvc", "repro")
    stages = list(YAML(typ="safe").load(parallel / "dvc.lock")["stages"])
    each = sum(
        run(parallel, "dvc", "--wait-for-lock", "repro", "--force", "--single-item", name)[1]
        for name in stages[:SINGLE]
    )
    console.print(
        f"a stage that does nothing, of {len(stages)}: {ours / len(stages):.2f} processor seconds; dvc repro "
        f"{peer / len(stages):.2f}, ratio {ours / peer:.2f}; a dvc process each {each / SINGLE:.2f}"
    )


def compare(folder: Path, options: Namespace) -> tuple[float, float]:
    """Print the seconds of one cold run each way; returns them. Draws the plot, if one is asked for."""
    jobs = [] if options.jobs is None else ["--jobs", str(options.jobs)]
    parallel, single = fresh_clone(folder / "cold-parallel"), fresh_clone(folder / "cold-single", options.peer)
    seconds, cpu = run(parallel, *ratewright(*options.stages, *jobs))
    times = read_json(parallel / "work" / "repro" / "times.json")["stages"]
    peer, peer_cpu = run(single, "dvc", "repro", *options.stages)
    console.print(
        f"small profile, {len(times)} stages: {seconds:.0f} s, {cpu:.0f} processor seconds; "
        f"dvc repro {peer:.0f} s, {peer_cpu:.0f} processor seconds; ratio {peer / seconds:.2f}"
    )
    if options.plot is not None:
        draw(times, options.plot)
    if options.peer == "HEAD":
        same, other = recorded(parallel), recorded(single)
        equal = sum(other[stage] == found for stage, found in same.items())
        console.print(f"{equal} of {len(same)} stages that measure no time left the same bytes")
    return seconds, peer


def main() -> None:
    """Print the seconds of both cold runs and their ratio, round after round, and the costs of a stage before."""
    parser = command_line(__doc__)
    parser.add_argument("--stages", nargs="*", default=[], help="stages to run, with what they need; all by default")
    parser.add_argument("--jobs", type=int, help="stages at a time; by default, as many as there are cores")
    parser.add_argument("--plot", type=Path, help="where to draw what each slot did: a name that ends in .svg or .png")
    parser.add_argument("--rounds", type=int, default=1, help="how often both run; the ratio is of the medians")
    parser.add_argument("--peer", default="HEAD", help="the commit that `dvc repro` runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        cost(Path(name))
    rounds = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            rounds.append(compare(Path(name), options))
    ours, peer = (median(each) for each in zip(*rounds, strict=True))
    console.print(f"medians of {options.rounds}: {ours:.0f} s, dvc repro {peer:.0f} s, ratio {peer / ours:.2f}")


if __name__ == "__main__":
    main()
