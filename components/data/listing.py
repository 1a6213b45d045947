"""The listings in profiles/manifests/: names, hashes and public addresses of the files of a data set."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import SourceError
from ..storage.source import checked_name


@dataclass(frozen=True)
class Listing:
    """The files of a data set: a prefix where they are published, the hashes that they must have, their addresses."""

    address: str | None
    """Public address of the folder that holds all files; None where there is none, or where `urls` has theirs."""
    hashes: dict[str, str] = field(default_factory=dict)
    """Name at the source -> the hash that it must have: see `kind_of`."""
    urls: dict[str, str] = field(default_factory=dict)
    """Name at the source -> http(s) address, where files have addresses of their own."""


def read_listing(path: Path) -> Listing:
    """The listing in a JSON file: `files`, with a name, a sha256 or md5, and a `url` each, or `base_url` for all.

    Raises:
        SourceError: where the file cannot be read, or is of another kind.
    """
    try:
        content = json.loads(path.read_text())
        entries, base = content["files"], content.get("base_url")
        names = [checked_name(entry["name"]) for entry in entries]
        hashes = {name: _expected_hash(entry) for name, entry in zip(names, entries, strict=True)}
        urls = {name: _url(entry) for name, entry in zip(names, entries, strict=True) if "url" in entry}
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{path}: not a manifest with files of a name and a sha256 or md5 each") from error
    if not urls:
        return Listing(base, hashes)
    return Listing(None, hashes, {**_below(base, names), **urls})


def join_listings(paths: Sequence[Path]) -> Listing:
    """One listing of several JSON files; the names of each go below the name of its file, without .json.

    Raises:
        SourceError: as `read_listing` does.
    """
    hashes, urls = dict[str, str](), dict[str, str]()
    for path in paths:
        part = read_listing(path)
        hashes |= {f"{path.stem}/{name}": expected for name, expected in part.hashes.items()}
        addresses = {**_below(part.address, part.hashes), **part.urls}
        urls |= {f"{path.stem}/{name}": url for name, url in addresses.items()}
    return Listing(None, hashes, urls)


def kind_of(expected: str) -> str:
    """The kind of a hash by its number of hexadecimal digits: "md5" for 32, else "sha256"."""
    return "md5" if len(expected) == 32 else "sha256"


def _below(base: str | None, names: Sequence[str] | dict[str, str]) -> dict[str, str]:
    """The address of each name below a public prefix; none where there is no prefix."""
    return {} if base is None else {name: f"{base.rstrip('/')}/{quote(name)}" for name in names}


def _url(entry: dict[str, Any]) -> str:
    if not re.match("https?://", entry["url"]):
        raise ValueError(f"no http(s) address: {entry['url']}")
    return str(entry["url"])


def _expected_hash(entry: dict[str, Any]) -> str:
    kind, digits = ("sha256", 64) if "sha256" in entry else ("md5", 32)
    if not re.fullmatch(f"[0-9a-f]{{{digits}}}", entry[kind]):
        raise ValueError(f"no {kind}: {entry[kind]}")
    return str(entry[kind])
