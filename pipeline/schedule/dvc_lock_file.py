"""How the stages of a parallel run write dvc.lock."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.storage.atomic import write_bytes


def write_in_order(order: Sequence[str], present: Collection[str]) -> None:
    """Change how DVC writes dvc.lock in this process: in the order of `dvc repro`, and whole or not at all.

    DVC adds each stage at the end of dvc.lock when it is done. `dvc repro` runs stages in one order; side by side they
    end in any order. DVC also writes the file in place: a kill or a full disk in the midst leaves half of it.

    Args:
        order: Names of the stages of this run, in the order of `dvc repro`.
        present: Names of the stages that dvc.lock had before this run; they keep their places.
    """
    import dvc.dvcfile

    place = {name: number for number, name in enumerate(order)}

    @contextmanager
    def modify(path: str, fs: object = None) -> Iterator[dict[str, Any]]:  # noqa: ARG001 - as DVC's function
        from dvc.utils.serialize import dumps_yaml, parse_yaml_for_update

        file = Path(os.path.abspath(path))  # noqa: PTH100 - a path that may be a link is not followed
        document = parse_yaml_for_update(file.read_text(encoding="utf-8"), path) if file.exists() else {}
        yield document
        stages = document.get("stages", {})
        added = [name for name in stages if name not in present]
        for name in sorted(added, key=lambda name: place.get(name, len(place))):
            stages[name] = stages.pop(name)
        write_bytes(file, dumps_yaml(document).encode())

    dvc.dvcfile.modify_yaml = modify


def stages_in(root: Path) -> list[str]:
    """Names of the stages in dvc.lock, in its order. Raises DvcException if it is damaged."""
    from dvc.utils.serialize import load_yaml

    path = root / "dvc.lock"
    return list(load_yaml(str(path)).get("stages", {})) if path.exists() else []
