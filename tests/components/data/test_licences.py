import json
from pathlib import Path
from typing import Any

import pytest

from components.data.dataset import Dataset, NamedDataset
from components.data.licences import unlicensed
from components.data.manifest import FetchedFile
from components.errors import SourceError


def missing(root: Path, names: list[str], **definition: Any) -> list[str]:
    files = [
        FetchedFile(name=Path(name).name, source_name=name, sha256="0" * 64, source_sha256="0" * 64, width=1, height=1)
        for name in names
    ]
    return unlicensed(NamedDataset("photographs", Dataset(**definition), None, root), files)


def write(path: Path, files: list[dict[str, str]], **above: str) -> None:
    path.write_text(json.dumps({"files": files, **above}))


def test_a_licence_for_all_is_one_for_each(tmp_path: Path) -> None:
    write(tmp_path / "m.json", [{"name": "a.png"}, {"name": "b.png"}], license="CC0")
    assert missing(tmp_path, ["a.png", "b.png"], manifest="m.json") == []
    assert missing(tmp_path, ["a.png", "c.png"], manifest="m.json") == ["c.png"]


def test_a_licence_above_files_that_have_their_own_is_none(tmp_path: Path) -> None:
    files = [{"name": "a.png", "license": "CC0"}, {"name": "b.png"}]
    write(tmp_path / "m.json", files, license="each file has its own")
    assert missing(tmp_path, ["a.png", "b.png"], manifest="m.json") == ["b.png"]


@pytest.mark.parametrize(
    ("licence", "credit", "complete"),
    [
        ("CC BY 4.0", None, False),
        ("CC BY-SA 4.0", "Somebody", True),
        ("public domain", None, True),
        ("None stated", "x", False),
    ],
)
def test_some_licences_ask_for_a_credit(tmp_path: Path, licence: str, credit: str | None, complete: bool) -> None:
    file = {"name": "a.png", "license": licence} | ({} if credit is None else {"credit": credit})
    write(tmp_path / "m.json", [file])
    assert missing(tmp_path, ["a.png"], manifest="m.json") == ([] if complete else ["a.png"])
    above = {"license": licence} | ({} if credit is None else {"credit": credit})
    write(tmp_path / "m.json", [{"name": "a.png"}], **above)
    assert missing(tmp_path, ["a.png"], manifest="m.json") == ([] if complete else ["a.png"])


def test_the_definition_speaks_for_what_the_manifest_leaves_open(tmp_path: Path) -> None:
    write(tmp_path / "m.json", [{"name": "a.png"}, {"name": "b.png", "license": "CC BY 4.0"}])
    assert missing(tmp_path, ["a.png", "b.png"], manifest="m.json", licence="CC0") == ["b.png"]
    assert missing(tmp_path, ["a.png", "b.png"], manifest="m.json", licence="CC0", credit="Somebody") == []
    assert missing(tmp_path, ["a.png"], source="bundled") == ["a.png"]
    assert missing(tmp_path, ["a.png"], source="bundled", licence="CC0") == []


def test_joined_sets_and_members_of_archives_have_the_terms_of_their_files(tmp_path: Path) -> None:
    write(tmp_path / "one.json", [{"name": "a.png"}], license="CC0")
    write(tmp_path / "two.json", [{"name": "b.zip"}], license="CC0")
    names = ["one/a.png", "two/a.png", "two/b.zip/c.png"]
    assert missing(tmp_path, names, manifest=["one.json", "two.json"]) == ["a.png"]


@pytest.mark.parametrize("text", ["", "[]", '{"files": [{}]}'])
def test_a_manifest_of_another_kind_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(SourceError, match=r"m\.json: not a manifest"):
        missing(tmp_path, ["a.png"], manifest="m.json")


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        missing(tmp_path, ["a.png"], manifest="m.json")
