"""Reading patches from shards by position: from a folder, or over http(s) and S3 with reading ahead and a cache.

WebDataset's own readers stream whole tars, and its indexed one, `wids`, copies whole tars to disk first and is not part
of webdataset 1.0. Our samples come one by one in a permutation of the whole split, so each is read by its byte range.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import NamedTuple, Self

from pydantic import ValidationError

from ..errors import SourceError, one_line
from ..storage.atomic import write_bytes
from ..storage.sources import open_source
from .shard_index import ShardIndex

READS = 16
"""Patches of a remote location that one process reads at the same time."""
BATCHES_AHEAD = 4
"""Batches of a remote location that are read while one is used."""

_ABANDONED_S = 3600.0  # after which a temporary file in the cache belongs to no living process


class Sample(NamedTuple):
    """One showing of a patch in training."""

    epoch: int
    position: int
    """Of the patch in its split."""


@dataclass(frozen=True)
class Shards:
    """The location of a set of shards, which any process can open.

    A cache holds a fixed choice: the first patches of the index that fit. Every epoch is a new permutation of all
    patches, so that any choice has a hit rate of its share of them, which no policy of replacing exceeds; and a fixed
    choice needs no agreement between processes. Copies lie in a folder named after the hash of the index, so that
    copies of different shards never mix; copies of other shards are left, since another process may be reading them.
    """

    location: str
    """A folder, http(s):// or s3://bucket/prefix, as `open_source` takes it."""
    cache: str | None = None
    """A folder for copies of patches of a remote location."""
    cache_bytes: int = 0
    """Size of the copies of one set of shards, at the most."""

    @property
    def remote(self) -> bool:
        """Whether patches are read over a network."""
        return self.location.lower().startswith(("http://", "https://", "s3://"))

    def index(self) -> ShardIndex:
        """The content of index.json. Raises SourceError where there is none."""
        try:
            with closing(open_source(self.location)) as source:
                return ShardIndex.model_validate_json(source.read("index.json"))
        except SourceError as error:
            raise SourceError(f"no shards in {self.location}: {error}") from error
        except ValidationError as error:
            wanted = "JSON" if error.errors()[0]["type"] == "json_invalid" else "an index of shards"
            raise SourceError(f"no shards in {self.location}: index.json is not {wanted}") from error

    def patches(self, split: str) -> "Patches":
        """The patches of a split: "train", "val" or "large". Raises SourceError where there is no index or split."""
        index = self.index()
        if split not in index.splits:
            raise SourceError(f"no {split} patches in {self.location}: see `shards.{split}` in params.yaml")
        folder, left = None, self.cache_bytes if self.remote else 0
        if self.cache is not None and left:
            content = json.dumps(index.model_dump(), sort_keys=True)
            folder = Path(self.cache) / hashlib.sha256(content.encode()).hexdigest()[:16]
            _remove_abandoned(folder)
        places = []
        for name, entry in index.splits.items():
            for shard in entry.shards:
                for offset, size in shard.samples:
                    left -= size
                    copy = folder / shard.file / str(offset) if folder is not None and left >= 0 else None
                    if name == split:
                        places.append(_Place(shard.file, offset, size, copy))
        return Patches(self, split, index.side(split), places)


class _Place(NamedTuple):
    """The byte range of a patch in a tar, and the path of its copy in the cache, if it has one."""

    file: str
    offset: int
    size: int
    copy: Path | None


@dataclass(frozen=True)
class Patches:
    """The patches of one split; `len` counts them."""

    shards: Shards
    split: str
    side: int
    """Of every patch, in pixels."""
    places: Sequence[_Place]

    def __len__(self) -> int:
        return len(self.places)

    def reader(self) -> "PatchReader":
        """A reader for this process, to be closed in the end."""
        return PatchReader(self)


class PatchReader:
    """Reads the PNG files of patches, from any thread of one process; a context manager that closes itself."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches
        self._source = open_source(patches.shards.location)
        self._pool = ThreadPoolExecutor(READS) if patches.shards.remote else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._source.close()

    def read(self, position: int) -> bytes:
        """The bytes of the patch at a position of its split, fewer than it has where its tar ends early.

        Raises:
            SourceError: where the tar is missing or cannot be reached, or the cache cannot be written.
        """
        file, offset, size, copy = self._patches.places[position]
        if copy is None:
            return self._source.read(file, offset, size)
        try:
            data = copy.read_bytes() if copy.exists() else b""
            if len(data) != size:
                data = self._source.read(file, offset, size)
                if len(data) == size:
                    write_bytes(copy, data)
        except OSError as error:
            raise SourceError(f"the cache {self._patches.shards.cache}: {one_line(error)}") from error
        return data

    def read_batches(self, batches: Iterable[Sequence[Sample]]) -> Iterator[tuple[Sequence[Sample], Iterator[bytes]]]:
        """Each batch of samples with the bytes of its patches, which may be waited for one by one.

        Batches of a remote location are read ahead, READS patches at a time. Raises SourceError as `read` does.
        """
        if self._pool is None:
            for batch in batches:
                yield batch, (self.read(sample.position) for sample in batch)
            return
        pending: deque[tuple[Sequence[Sample], list[Future[bytes]]]] = deque()
        for batch in batches:
            pending.append((batch, [self._pool.submit(self.read, sample.position) for sample in batch]))
            if len(pending) > BATCHES_AHEAD:
                yield _awaited(*pending.popleft())
        while pending:
            yield _awaited(*pending.popleft())


def _awaited(batch: Sequence[Sample], reads: list[Future[bytes]]) -> tuple[Sequence[Sample], Iterator[bytes]]:
    return batch, (read.result() for read in reads)


def _remove_abandoned(folder: Path) -> None:
    """Remove the temporary files of killed processes, or the cache would outgrow its bound."""
    for path in folder.glob("*/.*"):
        try:
            if path.stat().st_mtime < time() - _ABANDONED_S:
                path.unlink()
        except FileNotFoundError:  # another process was faster
            pass
