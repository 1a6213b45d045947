"""`ratewright repro` killed (-9) at random moments: the same command goes on to what an undisturbed run leaves.

    python -m benchmarks.kills                                   # ten kills of the small profile: half an hour
    python -m benchmarks.kills --kills 3 --stages train@wcae     # a minute or two

An undisturbed run comes first, in a fresh clone of the commit that is checked out, as does the other one. The victim is
drawn among the runner, the DVC processes of stages, and the stages. Where a stage dies, the run ends with an error.
"""

import json
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.common import command_line, console
from benchmarks.repro import environment, fresh_clone, ratewright, recorded, run

SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
PATIENCE_S = 120.0
"""Longest time that processes may take to end after a kill: stages save their state."""


def processes(root: Path) -> list[psutil.Process]:
    """All processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == root and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def victim(runner: psutil.Process) -> tuple[str, psutil.Process]:
    """The runner, a DVC process or a stage, as drawn, with its kind; one above it where there is none of that kind."""
    dvc = runner.children()
    levels = {"runner": [runner], "dvc": dvc, "stage": [stage for process in dvc for stage in process.children()]}
    drawn = random.randrange(len(levels))
    return next((kind, random.choice(found)) for kind, found in reversed(list(levels.items())[: drawn + 1]) if found)


def kill_once(root: Path, wait_s: float, stages: list[str]) -> str | None:
    """Start a run and kill one of its processes after some seconds; returns what happened, None if it ended before.

    Raises:
        TimeoutError: Something still runs long after the kill.
    """
    runner = psutil.Popen(ratewright(*stages), cwd=root, env=environment(root), **SILENT)
    try:
        runner.wait(wait_s)
        return None
    except psutil.TimeoutExpired:
        kind, killed = victim(runner)
    killed.send_signal(signal.SIGKILL)
    killed_at = time.monotonic()
    status = runner.wait(PATIENCE_S)
    while left := processes(root):
        if time.monotonic() - killed_at > PATIENCE_S:
            raise TimeoutError(f"{left} still run {PATIENCE_S:.0f} s after a kill")
        time.sleep(0.1)
    ended_s = time.monotonic() - killed_at
    return f"{kind} killed after {wait_s:.0f} s: exit {status}, all processes ended within {ended_s:.1f} s"


def half_written(root: Path) -> set[str]:
    """Files with a temporary name, which a killed process may leave, and DVC's list of files in use if it has any."""
    temporary = {str(path.relative_to(root)) for path in root.rglob(".*.????????") if path.is_file()}
    in_use = root / ".dvc" / "tmp" / "rwlock"
    used = in_use.exists() and any(json.loads(in_use.read_text()).values())
    return temporary | ({str(in_use.relative_to(root))} if used else set())


def changed(root: Path, stages: list[str]) -> list[str]:
    """Names of the stages that DVC finds changed."""
    command = ("dvc", "status", "--json", *(("--with-deps", *stages) if stages else ()))
    status = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, check=True)
    return sorted(json.loads(status.stdout))


def main() -> None:
    """Print each kill, then what differs from the undisturbed run."""
    parser = command_line(__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, help="of the moments and victims; by default another one each time")
    parser.add_argument("--stages", nargs="*", default=[], help="stages to run, with what they need; all by default")
    options = parser.parse_args()
    seed = random.randrange(1 << 16) if options.seed is None else options.seed
    random.seed(seed)
    with tempfile.TemporaryDirectory() as name:
        undisturbed, killed = (fresh_clone(Path(name).resolve() / clone) for clone in ("undisturbed", "killed"))
        whole_s, _ = run(undisturbed, *ratewright(*options.stages))
        console.print(f"an undisturbed run: {whole_s:.0f} s; seed {seed}")
        began = time.monotonic()
        for number in range(options.kills):
            happened = kill_once(killed, random.uniform(1, 1.5 * whole_s / options.kills), options.stages)
            if happened is None:
                console.print("the run ended before the next kill")
                break
            console.print(f"{number + 1}: {happened}")
        run(killed, *ratewright(*options.stages))
        console.print(f"the last run ended well, {time.monotonic() - began:.0f} s after the first began")
        same, other = recorded(undisturbed), recorded(killed)
        different = sorted(name for name in same.keys() | other.keys() if same.get(name) != other.get(name))
        console.print(f"of {len(same)} stages that measure no time, other bytes: {', '.join(different) or 'none'}")
        left = half_written(killed) - half_written(undisturbed)
        console.print(f"files left half written or in use: {', '.join(sorted(left)) or 'none'}")
        console.print(f"changed, says dvc status: {', '.join(changed(killed, options.stages)) or 'none'}")


if __name__ == "__main__":
    main()
