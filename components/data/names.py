"""What files of a source are pictures, and what they are called in the flat folder of their data set."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from components.data.archives import is_archive
from components.data.manifest import MANIFEST
from components.errors import SourceError
from components.storage.sources import PICTURE_SUFFIXES


def stored_names(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """For each source name, its name in the flat folder: as it came, and written anew as PNG.

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


def of_use(names: Iterable[str]) -> list[str]:
    """The pictures and archives among the names; not what macOS and others hide beside them."""
    shown = (name for name in names if not any(part[:1] in ".~" for part in name.split("/")))
    return sorted(
        name
        for name in shown
        if not name.startswith("__MACOSX/") and (is_archive(name) or name.lower().endswith(PICTURE_SUFFIXES))
    )


def archive_of(name: str) -> str | None:
    """The archive part of a member's name, None for a file by itself."""
    for end, character in enumerate(name):
        if character == "/" and is_archive(name[:end]):
            return name[:end]
    return None
