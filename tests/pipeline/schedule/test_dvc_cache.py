"""Which objects of DVC's cache are unneeded, beside what `dvc gc` says; real git and DVC."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.errors import RatewrightError
from pipeline.schedule.dvc_cache import remove_unneeded, unneeded_objects
from pipeline.schedule.git import RUNS
from tests.forks import Forks


@dataclass(frozen=True)
class Checkout:
    """A repository of git and DVC."""

    root: Path
    python: Forks

    def git(self, *arguments: str) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.invalid")
        subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True)

    def dvc(self, *arguments: str) -> str:
        return self.python.well("dvc", *arguments, cwd=self.root)

    def cached(self, content: str, suffix: str = "") -> Path:
        """An object of the cache."""
        md5 = hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()
        path = self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / f"{md5[2:]}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def track(self, content: str, name: str = "thing", suffix: str = "") -> Path:
        """The same as a DVC file of the index refers to."""
        path = self.cached(content, suffix)
        out = f"outs:\n- md5: {path.parent.name}{path.name}\n  size: {len(content)}\n  hash: md5\n  path: {name}\n"
        (self.root / f"{name}.dvc").write_text(out)
        self.git("add", "-A")
        return path

    def commit(self, content: str, name: str = "thing") -> Path:
        path = self.track(content, name)
        self.git("commit", "-q", "-m", content)
        return path


@pytest.fixture
def checkout(python: Forks, tmp_path: Path) -> Checkout:
    made = Checkout(tmp_path, python)
    made.git("init", "-q", "--initial-branch=main")
    made.dvc("init", "-q")
    made.git("commit", "-q", "-m", "empty")
    return made


def test_what_any_commit_needs_stays(checkout: Checkout) -> None:
    """On branches, in a merge that has neither side's file, under a tag and in the stash; the workspace is another."""
    one_file = checkout.cached("a file of a folder")
    listing = json.dumps([{"md5": f"{one_file.parent.name}{one_file.name}", "relpath": "file"}])
    needed = [one_file, checkout.track(listing, "folder", ".dir"), checkout.commit("first"), checkout.commit("second")]
    checkout.git("checkout", "-q", "-b", "side", "HEAD~1")
    needed.append(checkout.commit("on the side"))
    checkout.git("checkout", "-q", "main")
    checkout.git("merge", "-q", "--no-commit", "-s", "ours", "side")
    needed.append(checkout.commit("merged by hand"))
    needed.append(checkout.commit("under a tag"))
    checkout.git("tag", "kept")
    checkout.git("reset", "-q", "--hard", "HEAD~1")
    needed.append(checkout.track("stashed"))
    checkout.git("stash", "-q")
    lost = [checkout.commit("of no ref")]
    checkout.git("reset", "-q", "--hard", "HEAD~1")
    needed.append(checkout.commit("of a running run"))
    checkout.git("update-ref", f"{RUNS}running", "HEAD")
    checkout.git("reset", "-q", "--hard", "HEAD~1")
    lost.append(checkout.commit("of a failed run"))
    checkout.git("update-ref", f"{RUNS}failed", "HEAD")
    checkout.git("reset", "-q", "--hard", "HEAD~1")
    needed.append(checkout.track("in the workspace alone"))
    unfinished = checkout.cached("of an unfinished experiment")
    clone = checkout.root / "work" / "sweep" / "point"
    (clone / ".dvc").mkdir(parents=True)
    (clone / "dvc.lock").write_text(f"md5: {unfinished.parent.name}{unfinished.name}\n")
    folder = checkout.cached(json.dumps([{"md5": lost[0].parent.name + lost[0].name, "relpath": "file"}]), ".dir")
    (checkout.root / ".dvc" / "cache" / "files" / "md5" / "ab").mkdir(exist_ok=True)
    (checkout.root / ".dvc" / "cache" / "files" / "md5" / "ab" / "half-written.tmp").touch()

    found = unneeded_objects(checkout.root, [f"{RUNS}running"])
    assert found[0] == folder
    assert {*found} == {folder, *lost}

    said = checkout.dvc("gc", "--workspace", "--all-commits", "--all-experiments", "--dry", "--force")
    by_dvc = {Path(line.removeprefix("Removing ")) for line in said.splitlines() if line.startswith("Removing /")}
    assert {*found} <= by_dvc
    needed.append(unfinished)
    remove_unneeded(checkout.root, [f"{RUNS}running"])
    assert not any(path.exists() for path in found)
    assert all(path.exists() for path in needed)


def test_a_commit_that_dvc_cannot_read_does_not_matter(checkout: Checkout) -> None:
    (checkout.root / "dvc.yaml").write_text("stages: [broken")
    of_commit = checkout.commit("beside a broken dvc.yaml")
    (checkout.root / "dvc.yaml").unlink()
    unneeded = checkout.cached("of no commit")
    checkout.commit("mended")
    assert unneeded_objects(checkout.root, []) == [unneeded]
    assert of_commit.exists()


def test_nothing_is_removed_while_dvc_works(checkout: Checkout) -> None:
    from dvc.repo import Repo

    unneeded = checkout.cached("of no commit")
    with Repo(str(checkout.root)) as repo, repo.lock, pytest.raises(RatewrightError, match="lock"):
        remove_unneeded(checkout.root, [])
    assert unneeded.exists()
