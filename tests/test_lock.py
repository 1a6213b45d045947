"""requirements.lock: every dependency but torch, at one version, with hashes, from no particular host."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TORCH = "torch"
"""CPU and CUDA builds of one version have different hashes: pyproject.toml pins it alone."""

LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[\w.!]+)(?: --hash=sha256:[0-9a-f]{64})+")


def locked() -> dict[str, str]:
    """Version by package. Every requirement of the lock has hashes and neither a local version nor an address."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", "")
    lines = [" ".join(line.split()) for line in text.splitlines() if line and not line.startswith("#")]
    found = [LINE.fullmatch(line) for line in lines]
    assert [line for line, match in zip(lines, found, strict=True) if match is None] == []
    return {match["name"]: match["version"] for match in found if match}


def test_the_lock_has_a_hash_for_every_dependency_but_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[\[<>=]", each)[0] for each in wanted}
    assert names - {project["name"]} - locked().keys() == {TORCH}, "extras name other extras"
    assert f"{TORCH}==" in " ".join(wanted)


def test_the_lock_lists_no_libraries_of_a_cuda_build() -> None:
    assert not [name for name in locked() if name.startswith(("nvidia-", "cuda-", "triton"))]
