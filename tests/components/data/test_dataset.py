from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from components.data.dataset import Dataset, NamedDataset, revision_of, stored_names
from components.data.fetch import fetch
from components.errors import SourceError
from components.storage.sources import open_source
from tests.components.data.sets import contents, data_set, listing, picture
from tests.site import Site

ROOT = Path(__file__).parents[3]


def test_no_address_at_all(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="name a mirror"):
        fetch(data_set("set", files=["a.png"]), tmp_path / "out")
    with pytest.raises(SourceError, match="name a mirror"):
        fetch(data_set("set", manifest=listing(tmp_path / "set.json", {"a.png": b""})), tmp_path / "out")


def test_stored_names_are_unique() -> None:
    names = ["a.jpg", "a.png", "b/c.tif", "b_c.gif", "x.zip/d/e.png", "y.zip/d/e.png", "f.tif"]
    stored = stored_names(names)
    assert stored["a.jpg"] == ("a.jpg", "a.jpg.png")
    assert stored["a.png"] == ("a.png", "a.png")
    assert stored["f.tif"] == ("f.tif", "f.png")
    assert stored["x.zip/d/e.png"] == ("x.zip_d_e.png", "x.zip_d_e.png")
    every = [one for pair in stored.values() for one in {*pair}]
    assert len(every) == len(set(every))
    with pytest.raises(SourceError, match="taken"):
        stored_names(["a/b.png", "a_b.png", "c/a_b.png", "c_a/b.png"])


@pytest.mark.parametrize("out", ["photos", "photos/out", "."])
def test_the_source_folder_is_never_the_output(folder: Path, tmp_path: Path, out: str) -> None:
    before = contents(tmp_path)
    with pytest.raises(SourceError, match="may not share"):
        fetch(data_set("set", str(folder)), tmp_path / out)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["", "[]", '{"files": [{"name": "a"}]}', '{"files": 3}'])
def test_a_bad_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(SourceError, match=r"set\.json: not a manifest"):
        fetch(data_set("set", str(tmp_path), manifest=tmp_path / "set.json"), tmp_path / "out")
    with pytest.raises(SourceError, match=r"none\.json: cannot be read"):
        fetch(data_set("set", str(tmp_path), manifest=tmp_path / "none.json"), tmp_path / "out")


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".a"])
def test_a_bad_name(name: str) -> None:
    with pytest.raises(SourceError):
        data_set(name)


@pytest.mark.parametrize("fields", [{"max_loss": 1.5}, {"max_loss": "0.5"}, {"url": "x"}, {"files": "a.png"}])
def test_a_bad_definition(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Dataset.model_validate(fields)


def test_the_shipped_definitions() -> None:
    definitions = YAML(typ="safe").load(ROOT / "profiles" / "datasets.yaml")
    assert len(definitions) == 19
    for name, fields in definitions.items():
        definition = Dataset.model_validate(fields)
        assert definition.files or definition.manifest, "a public set names its files"
        if definition.manifest is not None:
            listing = NamedDataset(name, definition, root=ROOT).listing()
            public = [listing.address] if listing.address is not None else list(listing.urls.values())
            assert public
            assert all(address.startswith("https://") for address in public)
            assert listing.hashes
        if definition.source == "bundled":
            assert set(definition.files or ()) <= set(open_source("bundled").list())


def test_the_revision_of_a_folder(folder: Path) -> None:
    dataset = data_set("set", str(folder))
    before = revision_of(dataset)
    assert revision_of(dataset) == before
    (folder / "README.md").write_text("no picture")
    assert revision_of(dataset) == before
    (folder / "b.png").write_bytes(picture(7))
    assert revision_of(dataset) != before


def test_the_revision_of_a_site(site: Site) -> None:
    site.files = {"a.png": b"one", "b.png": b"two"}
    dataset = data_set("set", site.address, ["a.png", "b.png"])
    before = revision_of(dataset)
    site.files["b.png"] = b"another"
    assert revision_of(dataset) != before


def test_the_revision_of_pinned_files_needs_no_source(tmp_path: Path) -> None:
    one, other = ({"a.png": picture(seed)} for seed in (1, 2))
    revisions = [
        revision_of(data_set("set", manifest=listing(tmp_path / f"{number}.json", files)))
        for number, files in enumerate((one, other, one))
    ]
    assert revisions[0] == revisions[2] != revisions[1]
