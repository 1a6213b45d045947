"""Git for scheduled runs: commits that leave the checkout untouched, and refs that move together or not at all."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.errors import RatewrightError

RUNS = "refs/ratewright/"
"""Git ref namespace of the commits that runs use."""

_IDENTITY = {"user.name": "Ratewright", "user.email": "ratewright@localhost"}
"""Author and committer if git has none configured."""


class Repository:
    """The git repository at `root`. Every method raises RatewrightError with git's own message."""

    def __init__(self, root: Path):
        self.root = root

    @classmethod
    def clone(cls, address: str, into: Path) -> "Repository":
        """Clone a repository, or bring a clone up to date, whole or not: every step can be repeated.

        Args:
            address: Its URL or folder.
            into: The folder of the clone. No other process may use it meanwhile.

        Returns:
            The clone, with the refs of runs; nothing more is checked out than was.
        """
        repository = cls(into)
        into.mkdir(parents=True, exist_ok=True)
        for lock in (into / ".git").rglob("*.lock"):  # git leaves them where it is killed, and then refuses to work
            lock.unlink()
        repository.git("init", "--quiet")
        repository.git("config", "--replace-all", "remote.origin.url", address)
        repository.git("config", "--replace-all", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
        repository.git("config", "--add", "remote.origin.fetch", f"+{RUNS}*:{RUNS}*")
        repository.git("fetch", "--quiet", "--tags", "origin")
        return repository

    def git(self, *arguments: str, feed: str | None = None, environment: Mapping[str, str] | None = None) -> str:
        """Run a git command.

        Args:
            arguments: The command and its options.
            feed: Standard input.
            environment: Variables added to those of this process.

        Returns:
            Standard output without the last line break.

        Raises:
            RatewrightError: The command failed.
        """
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root,
            input=feed,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0", **(environment or {})},
        )
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise RatewrightError(f"git {arguments[0]} in {self.root}: {' '.join(lines[-3:]) or 'failed'}")
        return done.stdout.removesuffix("\n")

    def commit_of(self, name: str) -> str | None:
        """The commit that a branch, a tag or another ref names; None if the ref does not exist."""
        return self.git("for-each-ref", "--format=%(objectname)", name) or None

    def branch(self) -> str:
        """The branch that is checked out."""
        return self.git("symbolic-ref", "--short", "HEAD")

    def default_branch(self) -> str:
        """The branch that the repository of which this is a clone has checked out."""
        self.git("remote", "set-head", "origin", "--auto")
        return self.git("symbolic-ref", "--short", "refs/remotes/origin/HEAD").removeprefix("origin/")

    def head(self) -> str:
        """The commit that is checked out; an empty text in a clone where nothing is."""
        return self.git("rev-parse", "--revs-only", "HEAD")

    def blob(self, commit: str, path: str) -> str | None:
        """The hash of a file in a commit; None if the commit lacks the file."""
        return self.git("ls-tree", "--format=%(objectname)", commit, "--", path) or None

    def text(self, commit: str, path: str) -> str:
        """The content of a file in a commit."""
        return self.git("cat-file", "blob", f"{commit}:{path}") + "\n"

    def changed_files(self) -> list[str]:
        """Tracked files that differ from the commit that is checked out."""
        return self.git("diff", "--name-only", "HEAD").splitlines()

    def commit(self, parents: Sequence[str], files: Mapping[str, bytes], message: str) -> str:
        """Create a commit without changing a branch, the index or the work tree.

        Args:
            parents: The commit's parents; the files of the first are taken over.
            files: Content by path, written over the first parent's files.
            message: The commit message.

        Returns:
            The hash of the new commit.
        """
        with tempfile.TemporaryDirectory() as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            self.git("read-tree", parents[0], environment=index)
            for path, data in files.items():
                (Path(folder) / "blob").write_bytes(data)
                blob = self.git("hash-object", "-w", str(Path(folder) / "blob"))
                self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", environment=index)
            tree = self.git("write-tree", environment=index)
        missing = {key: value for key, value in _IDENTITY.items() if not self._configured(key)}
        identity = [part for key, value in missing.items() for part in ("-c", f"{key}={value}")]
        parent_options = [part for parent in parents for part in ("-p", parent)]
        return self.git(*identity, "commit-tree", tree, *parent_options, feed=message)

    def move(self, refs: Mapping[str, tuple[str | None, str]]) -> None:
        """Move all of `refs` or none, each from its old commit (None if the ref does not exist) to its new one."""
        lines = [
            f"create {ref} {new}" if old is None else f"update {ref} {new} {old}" for ref, (old, new) in refs.items()
        ]
        self.git("update-ref", "--stdin", feed="\n".join(["start", *lines, "commit", ""]))

    def _configured(self, key: str) -> bool:
        done = subprocess.run(["git", "config", key], cwd=self.root, capture_output=True, check=False)
        return done.returncode == 0
