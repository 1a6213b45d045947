"""What a data set consists of, where it lies, and whether it changed there."""

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.data.names import of_use
from components.errors import SourceError
from components.storage.source import Source, checked_name
from components.storage.sources import Folder, open_source


@dataclass(frozen=True)
class FetchSpec:
    """What a data set consists of."""

    name: str
    """A plain word: the folder of this set on a mirror."""
    source: str | None = None
    """Public location, as `open_source` takes it; None for the manifest's base_url, or for mirrors only."""
    files: Sequence[str] | None = None
    """Names at the source, archives included; None for the manifest's, or else for all the source lists."""
    manifest: Path | None = None
    """JSON with base_url and files [{name, sha256}]: what each file must be; md5 where no sha256 is published."""
    mirror: str | None = None
    """Folder, http(s):// or s3:// prefix that holds `<name>/<file>`, used in place of the source."""
    max_loss: float = 0.0
    """Share of the pictures, 0 to 1, that may turn out undecodable."""
    members: str = "*"
    """Which pictures of an archive belong to the set: a pattern for their paths, where * spans folders."""
    revision: str | None = None
    """What `revision_of` said when the set was last asked for; another one means that files are fetched anew."""

    def __post_init__(self) -> None:
        if checked_name(self.name) != PurePosixPath(self.name).name or self.name.startswith("."):
            raise SourceError(f"{self.name!r} cannot name a data set: it names a folder")
        if not 0 <= self.max_loss <= 1:
            raise SourceError(f"{self.name}: max_loss is a share between 0 and 1, not {self.max_loss}")

    def public(self) -> tuple[str | None, dict[str, str]]:
        """The public address, and by name the expected hash: a sha256, or an md5, which is shorter."""
        if self.manifest is None:
            return self.source, {}
        try:
            listing = json.loads(self.manifest.read_text())
            expected = {checked_name(entry["name"]): _expected_hash(entry) for entry in listing["files"]}
            return self.source or listing.get("base_url"), expected
        except OSError as error:
            raise SourceError(f"{self.manifest}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(
                f"{self.manifest}: not a manifest with files of a name and a sha256 or md5 each"
            ) from error

    def names(self, expected: dict[str, str], source: Source) -> list[str]:
        """Names of the set's files at the source, sorted. Raises SourceError."""
        if self.files is not None:
            return sorted({checked_name(name) for name in self.files})
        return sorted(expected) or of_use(source.list())

    def open(self, public: str | None, out: Path | None) -> Source:
        """The source to fetch from, the mirror where there is one; it may not share a folder with `out`."""
        location = public
        if self.mirror is not None and public != "bundled":
            location = f"{self.mirror.rstrip('/')}/{self.name}"
        if location is None:
            wanted = f"a folder, http(s):// or s3:// prefix that holds {self.name}/"
            raise SourceError(f"{self.name}: has no public address to fetch from; name a mirror ({wanted})")
        source = open_source(location)
        if out is not None and isinstance(source, Folder):
            here, there = out.resolve(), source.root.resolve()
            if here.is_relative_to(there) or there.is_relative_to(here):
                raise SourceError(f"{self.name}: the source {there} and the output {here} may not share a folder")
        return source


def kind_of(expected: str) -> str:
    """Which hash an expected one is, "sha256" or "md5": its length tells."""
    return "md5" if len(expected) == 32 else "sha256"


def _expected_hash(entry: dict[str, Any]) -> str:
    kind, digits = ("sha256", 64) if "sha256" in entry else ("md5", 32)
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", entry[kind]):
        raise ValueError(f"no {kind}: {entry[kind]}")
    return str(entry[kind])


def revision_of(spec: FetchSpec, workers: int = 16) -> str:
    """A short hash that changes when the files of `spec` do; nothing is downloaded.

    Made of ETags over http and of objects in S3, of sizes and times in a folder. A set whose hashes are pinned
    by a manifest is that manifest's, since fetch refuses anything else. Raises SourceError.
    """
    public, expected = spec.public()
    if expected:
        marks = sorted(expected.items())
    else:
        with closing(spec.open(public, None)) as source, ThreadPoolExecutor(workers) as pool:
            names = spec.names(expected, source)
            marks = list(zip(names, pool.map(source.fingerprint, names), strict=True))
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:16]
