"""How the process of one stage of a parallel run reads and writes dvc.lock.

DVC parses and writes the whole file several times for each stage, which takes longer the more stages there are, while
all others wait for its lock. It adds a stage at the end when it is done, so that stages side by side come in any order.
And it writes the file in place: a kill or a full disk in the midst leaves half of it. Here a stage reads and writes its
own entry alone, at the place that `dvc repro` gives it, and the file is replaced whole or not at all.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.storage.atomic import write_bytes

_HEAD = "schema: '2.0'\nstages:\n"
_ENTRY = re.compile(r"^  ([\w@./-]+):\n", re.MULTILINE)
_OTHER = re.compile(r"^(?! {4}|  [\w@./-]+:\n)", re.MULTILINE)
"""A line that neither begins an entry nor belongs to one."""


class Entries:
    """The entries of dvc.lock as text, in their order, by the names of their stages."""

    def __init__(self, texts: dict[str, str]):
        self.texts = texts

    @classmethod
    def parse(cls, text: str) -> "Entries | None":
        """The entries of the file's text; None if it has more than DVC writes for stages with usual names."""
        body = text.removeprefix(_HEAD)
        if text and (body == text or _OTHER.search(body.removesuffix("\n"))):
            return None
        parts = _ENTRY.split(body)
        return cls({name: f"  {name}:\n{rest}" for name, rest in zip(parts[1::2], parts[2::2], strict=True)})

    def only(self, name: str, parse: Callable[[str, str], dict[str, Any]], path: str) -> dict[str, Any]:
        """The content of a file with the entry of one stage alone, if it has one; `parse` reads YAML."""
        if name in self.texts:
            return parse(_HEAD + self.texts[name], path)
        return {"schema": "2.0", "stages": {}} if self.texts else {}

    def __str__(self) -> str:
        return _HEAD + "".join(self.texts.values())


def use_own_entry(name: str, order: Sequence[str], present: Collection[str]) -> None:
    """Change how DVC reads and writes dvc.lock in this process, which reproduces one stage.

    Args:
        name: The stage.
        order: Names of the stages of this run, in the order of `dvc repro`.
        present: Names of the stages that dvc.lock had before this run; they keep their places.
    """
    import dvc.dvcfile
    from dvc.utils.serialize import dumps_yaml, parse_yaml, parse_yaml_for_update

    place = {each: number for number, each in enumerate(order)}
    load_all: Callable[..., tuple[Any, str]] = dvc.dvcfile.Lockfile._load_yaml

    def load(lock_file: Any, **options: Any) -> tuple[Any, str]:
        entries = Entries.parse(_text(lock_file.path))
        if entries is None or options:
            return load_all(lock_file, **options)
        document = entries.only(name, parse_yaml, lock_file.path)
        return lock_file.validate(document, lock_file.relpath), ""

    @contextmanager
    def modify(path: str, fs: object = None) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - as DVC's function
        text = _text(path)
        entries = Entries.parse(text)
        parse = parse_yaml_for_update
        document = parse(text, path) if entries is None else entries.only(name, parse, path)
        yield document
        if entries is None:
            document["stages"] = _sorted(document["stages"], place, present)
            text = dumps_yaml(document)
        else:
            entries.texts[name] = dumps_yaml(document).removeprefix(_HEAD)
            text = str(Entries(_sorted(entries.texts, place, present)))
        write_bytes(Path(path), text.encode())

    dvc.dvcfile.Lockfile._load_yaml = load
    dvc.dvcfile.modify_yaml = modify


def stages_in(root: Path) -> list[str]:
    """Names of the stages in dvc.lock, in its order. Raises DvcException if it is damaged."""
    from dvc.utils.serialize import load_yaml

    path = root / "dvc.lock"
    return list(load_yaml(str(path)).get("stages", {})) if path.exists() else []


def _sorted(stages: dict[str, Any], place: dict[str, int], present: Collection[str]) -> dict[str, Any]:
    """The stages with those of this run last, in the order of `dvc repro`."""
    added = sorted((name for name in stages if name not in present), key=lambda name: place.get(name, len(place)))
    return {name: stages[name] for name in [*(name for name in stages if name in present), *added]}


def _text(path: str) -> str:
    file = Path(path)
    return file.read_text(encoding="utf-8") if file.exists() else ""
