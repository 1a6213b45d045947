"""The definition of a data set, its location, and the names of its pictures; nothing is downloaded here."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from ..errors import SourceError
from ..settings import Settings, Share
from ..storage.picture_names import PICTURE_SUFFIXES
from ..storage.remote import Addresses
from ..storage.source import Source, checked_name
from ..storage.sources import Folder, open_source
from .archives import is_archive
from .listing import Listing, join_listings, read_listing
from .manifest import MANIFEST


class Dataset(Settings):
    """Where a data set comes from: an entry of `datasets` in params.yaml."""

    source: str | None = None
    """`bundled`, a folder, or an https:// or s3:// prefix; null for the manifest's own addresses or a mirror."""
    files: list[str] | None = None
    """Names at the source, archives included; null for the manifest's, or all that the source lists."""
    manifest: str | Annotated[list[str], Field(min_length=1)] | None = None
    """JSON in the checkout: `files` with a name, a sha256 or md5, and a `url` each, or `base_url` for all. A list joins
    sets; the files of each are `<name of its manifest>/<file>` at the source or mirror."""
    max_loss: Share = 0.0
    """Share of the pictures that may turn out undecodable."""
    members: str = "*"
    """Pattern for the paths of pictures inside archives, where * spans folders."""
    licence: str | None = None
    """Licence of all pictures, for those to which no manifest gives one."""
    credit: str | None = None
    """Who is to be named with all pictures, for those to which no manifest gives it."""
    revision: str | None = None
    """`revision_of` the set when a scheduled run last asked; another value fetches anew what has no pinned hash."""


@dataclass(frozen=True)
class NamedDataset:
    """A data set under its name, with what its files are read through. Raises SourceError for an unfit name."""

    name: str
    """One word: the folder of this set on a mirror."""
    definition: Dataset
    mirror: str | None = None
    """A folder, http(s):// or s3:// prefix that holds `<name>/<file>`, used in place of the source."""
    root: Path = Path()
    """The folder that the path of the definition's manifest starts from."""

    def __post_init__(self) -> None:
        if checked_name(self.name) != PurePosixPath(self.name).name or self.name.startswith("."):
            raise SourceError(f"{self.name!r} cannot name a data set: it names a folder")

    def listing(self) -> Listing:
        """The files that the manifests pin, and their public addresses; `source` takes the place of the latter.

        Raises:
            SourceError: where a manifest cannot be read.
        """
        source, manifest = self.definition.source, self.definition.manifest
        if manifest is None:
            return Listing(source)
        if isinstance(manifest, list):
            found = join_listings([self.root / path for path in manifest])
        else:
            found = read_listing(self.root / manifest)
        return found if source is None else Listing(source, found.hashes)

    def file_names(self, expected: dict[str, str], source: Source) -> list[str]:
        """Names of the set's files at the source, sorted.

        Args:
            expected: the hashes of `listing`.
            source: asked for its list where neither the definition nor the manifest names files.

        Raises:
            SourceError: where the source cannot be listed, or a name leads out of it.
        """
        if self.definition.files is not None:
            return sorted({checked_name(name) for name in self.definition.files})
        return sorted(expected) or pictures_and_archives(source.list())

    def open(self, listing: Listing, out: Path | None = None) -> Source:
        """The source to fetch from: the mirror where there is one, else the public addresses.

        Args:
            listing: what `listing` returned.
            out: the folder that pictures are written to, which the source may not lie in, nor hold.

        Raises:
            SourceError: where a file has neither address nor mirror, or the source cannot be opened.
        """
        joined = isinstance(self.definition.manifest, list)
        location = listing.address
        if self.mirror is not None and location != "bundled":
            location = self.mirror if joined else f"{self.mirror.rstrip('/')}/{self.name}"
        if location is None:
            if not listing.urls or listing.hashes.keys() - listing.urls.keys():
                wanted = f"a folder, http(s):// or s3:// prefix that holds {'each set' if joined else self.name}/"
                raise SourceError(f"{self.name}: has no public address to fetch from; name a mirror ({wanted})")
            return Addresses(listing.urls)
        source = open_source(location)
        if out is not None and isinstance(source, Folder):
            here, there = out.resolve(), source.root.resolve()
            if here.is_relative_to(there) or there.is_relative_to(here):
                raise SourceError(f"{self.name}: the source {there} and the output {here} may not share a folder")
        return source


def revision_of(dataset: NamedDataset, workers: int = 16) -> str:
    """A short hash that changes when the files of the data set do; nothing is downloaded.

    It is made of ETags over http and in S3, of sizes and times in a folder. Where a manifest pins hashes, it is made
    of those, since `fetch` refuses anything else.

    Args:
        dataset: the data set.
        workers: requests under way at a time.

    Raises:
        SourceError: where the source cannot be reached.
    """
    listing = dataset.listing()
    if listing.hashes:
        marks = sorted(listing.hashes.items())
    else:
        with closing(dataset.open(listing)) as source, ThreadPoolExecutor(workers) as pool:
            names = dataset.file_names(listing.hashes, source)
            marks = list(zip(names, pool.map(source.fingerprint, names), strict=True))
    return hashlib.sha256(json.dumps(marks).encode()).hexdigest()[:16]


def stored_names(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """For each source name, its two possible names in the flat folder: kept as it came, and rewritten as PNG.

    An archive's name is left out and folders are joined by `_`. The PNG has the file's stem, or the whole
    name where two files share the stem. Raises SourceError where two names still meet.
    """
    flat = {name: name.removeprefix(f"{archive_of(name)}/").replace("/", "_").lstrip(".") for name in names}
    counts = Counter(flat.values())
    flat = {name: short if counts[short] == 1 else name.replace("/", "_") for name, short in flat.items()}
    stems = Counter(PurePosixPath(short).stem for short in flat.values())
    stored = {}
    owner: dict[str, str] = {}
    for name, short in flat.items():
        stem = PurePosixPath(short).stem
        is_png = short.endswith(".png")
        stored[name] = (short, short if is_png else f"{stem if stems[stem] == 1 else short}.png")
        for one in {*stored[name]}:
            if owner.setdefault(one, name) != name or one == MANIFEST:
                raise SourceError(f"{name}: would be stored as {one}, a name that is taken ({owner[one]})")
    return stored


def pictures_and_archives(names: Iterable[str]) -> list[str]:
    """The names of pictures and archives, sorted; hidden files and those that macOS adds are left out."""
    shown = (name for name in names if not any(part[:1] in ".~" for part in name.split("/")))
    return sorted(
        name
        for name in shown
        if not name.startswith("__MACOSX/") and (is_archive(name) or name.lower().endswith(PICTURE_SUFFIXES))
    )


def archive_of(name: str) -> str | None:
    """The archive in the name of a member, such as `a.zip` in `a.zip/b.png`; None for a file by itself."""
    for end, character in enumerate(name):
        if character == "/" and is_archive(name[:end]):
            return name[:end]
    return None
