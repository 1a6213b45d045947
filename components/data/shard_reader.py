"""Where shards lie and how their patches are read: a folder directly, http(s) and s3 ahead of time, through a cache."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from components.errors import SourceError, one_line
from components.storage.atomic import write_bytes
from components.storage.source import Source
from components.storage.sources import open_source

READS = 16
"""Patches of a remote location that one process reads at the same time."""
BATCHES_AHEAD = 4
"""Batches of a remote location that are under way while one is used."""

_ABANDONED_S = 3600.0  # after which nobody writes a temporary file any more

Read = Callable[[int], bytes]
"""The bytes of the patch at a position of its split."""
Later = Callable[[], bytes]
"""The bytes of a patch, which may have to be waited for."""


@dataclass(frozen=True)
class Shards:
    """A location of shards, which any process can open.

    location: what `open_source` takes: a folder, http(s):// or s3://bucket/prefix.
    cache: a folder that keeps copies of patches of a remote location, for one set of shards up to `cache_bytes`.

    What is kept is settled beforehand: the first patches of the index that fit. Every epoch is a new permutation of
    all patches, so that any set kept has a hit rate of its share of them, which no policy of replacing exceeds; and
    a fixed set needs neither bookkeeping nor a word between processes. Copies lie in a folder named after the hash
    of the index, so that shards never mix; those of other shards stay, since somebody may be reading them.
    """

    location: str
    cache: str | None = None
    cache_bytes: int = 0

    @property
    def remote(self) -> bool:
        """Whether reading takes a network."""
        return self.location.lower().startswith(("http://", "https://", "s3://"))

    def index(self) -> dict[str, Any]:
        """What index.json says (see `shards`). Raises SourceError where there is none."""
        try:
            with closing(open_source(self.location)) as source:
                index: dict[str, Any] = json.loads(source.read("index.json"))
        except SourceError as error:
            raise SourceError(f"no shards in {self.location}: {error}") from error
        except ValueError as error:
            raise SourceError(f"no shards in {self.location}: index.json is not JSON") from error
        if not isinstance(index, dict) or not {"spec", "splits"} <= index.keys():
            raise SourceError(f"no shards in {self.location}: index.json is not an index of shards")
        return index

    def patches(self, split: str) -> "Patches":
        """The patches of a split. Raises SourceError where there is no index."""
        index = self.index()
        folder, left = None, self.cache_bytes if self.remote else 0
        if self.cache is not None and left:
            folder = Path(self.cache) / hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()[:16]
            _sweep(folder)
        places = []
        for name, entry in index["splits"].items():
            for shard in entry["shards"]:
                for offset, size in shard["samples"]:
                    left -= size
                    copy = folder / shard["file"] / str(offset) if folder is not None and left >= 0 else None
                    if name == split:
                        places.append(_Place(shard["file"], offset, size, copy))
        return Patches(self, split, index["spec"]["augmentation"]["patch"], places)


class _Place(NamedTuple):
    """Where a patch lies in a tar, and where its copy is kept, if one is."""

    file: str
    offset: int
    size: int
    copy: Path | None


@dataclass(frozen=True)
class Patches:
    """The patches of one split, `side` pixels a side, as PNG bytes; `len` counts them."""

    shards: Shards
    split: str
    side: int
    places: Sequence[_Place]

    def __len__(self) -> int:
        return len(self.places)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """A function that reads the patch at a position, from any thread, in this process.

        It raises SourceError where a shard is missing or cannot be reached, and gives fewer bytes where one ends early.
        """
        with closing(open_source(self.shards.location)) as source:
            yield partial(self._read, source)

    def ahead(self, batches: Iterable[Sequence[int]], read: Read) -> Generator[Sequence[Later], None, None]:
        """For each batch of positions the bytes of its patches; those of a remote location are read ahead."""
        if not self.shards.remote:
            yield from ([partial(read, position) for position in batch] for batch in batches)
            return
        under_way: deque[Sequence[Later]] = deque()
        pool = ThreadPoolExecutor(READS)
        try:
            for batch in batches:
                under_way.append([pool.submit(read, position).result for position in batch])
                if len(under_way) > BATCHES_AHEAD:
                    yield under_way.popleft()
            yield from under_way
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, source: Source, position: int) -> bytes:
        file, offset, size, copy = self.places[position]
        if copy is None:
            return source.read(file, offset, size)
        try:
            data = copy.read_bytes() if copy.exists() else b""
            if len(data) != size:
                data = source.read(file, offset, size)
                if len(data) == size:
                    write_bytes(copy, data)
        except OSError as error:
            raise SourceError(f"the cache {self.shards.cache}: {one_line(error)}") from error
        return data


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half written, or the cache would outgrow its bound."""
    for path in folder.glob("*/.*"):
        try:
            if path.stat().st_mtime < time() - _ABANDONED_S:
                path.unlink()
        except FileNotFoundError:  # another process was faster
            pass
