"""Profiles: ready parameters that `ratewright use` writes into params.yaml."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from components.errors import RatewrightError
from components.storage.atomic import write_bytes
from pipeline.config import params


def profile_names(root: Path) -> list[str]:
    """Names of all profiles, sorted."""
    return sorted(path.stem for path in (root / "profiles").glob("*.yaml") if path.stem != "datasets")


def profile_text(root: Path, name: str, mirror: str | None = None) -> str:
    """The text of params.yaml under a profile.

    The profile names data sets; their definitions come from profiles/datasets.yaml. `launcher`, `ray` and `resources`
    stay as the present params.yaml has them: they describe the site, not the profile.

    Args:
        root: The checkout.
        name: The profile.
        mirror: Value of the parameter `mirror`.

    Raises:
        RatewrightError: There is no such profile or data set, or the profile is not valid.
    """
    folder = root / "profiles"
    yaml = YAML()
    yaml.width = 120
    if name not in (known := profile_names(root)):
        raise RatewrightError(f"no profile {name!r}; there are {', '.join(known)}")
    document = yaml.load(folder / f"{name}.yaml")
    catalogue = YAML(typ="safe").load(folder / "datasets.yaml")
    if unknown := [dataset for dataset in document["datasets"] if dataset not in catalogue]:
        raise RatewrightError(f"profiles/{name}.yaml: not in profiles/datasets.yaml: {', '.join(unknown)}")
    document["datasets"] = {dataset: catalogue[dataset] for dataset in document["datasets"]}
    document["mirror"] = mirror
    for key, value in _site(root, {"default", *document["variants"], *document["fine_tuned"]}).items():
        document[key] = value
    text = io.StringIO()
    yaml.dump(document, text)
    params.parse(YAML(typ="safe").load(text.getvalue()), f"profiles/{name}.yaml")
    return text.getvalue()


def _site(root: Path, known: set[str]) -> dict[str, Any]:
    """`launcher`, `ray` and `resources` of params.yaml; of the last, those of the `known` variants alone."""
    try:
        present = params.load(root).model_dump(include={"launcher", "ray", "resources"}, exclude_unset=True)
    except RatewrightError:  # a file that cannot be read is replaced whole
        present = {}
    resources = {name: needed for name, needed in present.get("resources", {}).items() if name in known}
    default = {"launcher": "local", "ray": {"address": None, "storage": None}}
    return {**default, **present, "resources": resources}


def write_profile(root: Path, name: str, mirror: str | None) -> None:
    """Replace params.yaml; a mirror that is a folder is written as an absolute path."""
    if mirror is not None and "://" not in mirror:
        if not Path(mirror).is_dir():
            raise RatewrightError(f"{mirror}: not a folder, and not an http://, https:// or s3:// prefix")
        mirror = str(Path(mirror).resolve())
    write_bytes(root / params.FILE, profile_text(root, name, mirror).encode())
