"""Where a result comes from."""

import subprocess
from pathlib import Path


def git_commit(root: Path) -> str | None:
    """The commit that `root` has checked out; None outside git."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
