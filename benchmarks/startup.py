"""Start-up time: seconds of a stage that computes little. The peer is `python -c "import torch"`.

Run in a checkout whose pipeline has run: python -m benchmarks.startup
"""

import subprocess
import sys
import time

from benchmarks.common import command_line, console, paired

STAGES = {"fetch": ["pipeline.stages.fetch", "bundled-test"], "choose": ["pipeline.stages.choose"]}
ROUNDS = 5


def seconds(*arguments: str) -> float:
    """Wall seconds of one Python process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Print each stage's median, the peer's, and the ratio."""
    command_line(__doc__).parse_args()
    console.print("start-up, whole processes")
    for name, (module, *arguments) in STAGES.items():
        mine, theirs, ratio = paired(
            lambda module=module, arguments=arguments: seconds("-m", module, *arguments),  # type: ignore[misc]
            lambda: seconds("-c", "import torch"),
            ROUNDS,
        )
        console.print(f"  {name} {mine:.2f} s, import torch {theirs:.2f} s, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
