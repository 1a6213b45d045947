import json
from pathlib import Path
from typing import Any

import pytest

from components.data.manifest import ArchiveFile, FetchedFile, Manifest, UndecodableFile
from components.errors import SourceError


def test_a_manifest_comes_back(tmp_path: Path) -> None:
    manifest = Manifest(
        "set",
        "https://example.org",
        (FetchedFile("a.png", "x.zip/a.png", "0" * 64, "1" * 64, 3, 4),),
        (UndecodableFile("b.png", "not a picture"),),
        (ArchiveFile("x.zip", "2" * 64, "*", "3" * 32),),
    )
    manifest.write(tmp_path / "manifest.json")
    assert Manifest.read(tmp_path / "manifest.json") == manifest


def test_a_manifest_of_version_0_1(tmp_path: Path) -> None:
    value: dict[str, Any] = {"name": "set", "source": None, "files": [], "archives": []}
    (tmp_path / "manifest.json").write_text(json.dumps({**value, "lost": [{"name": "a", "reason": "b"}]}))
    assert [file.name for file in Manifest.read(tmp_path / "manifest.json").undecodable] == ["a"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "set", "source": null, "files": [{}], "archives": []}'])
def test_what_is_no_manifest(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SourceError, match=r"manifest\.json: not the manifest of a fetched data set$"):
        Manifest.read(tmp_path / "manifest.json")
