import json
from pathlib import Path
from typing import Any

import pytest

from components.data.manifest import ArchiveFile, FetchedFile, Manifest, UndecodableFile
from components.errors import SourceError


def test_a_manifest_comes_back(tmp_path: Path) -> None:
    file = FetchedFile(
        name="a.png", source_name="x.zip/a.png", sha256="0" * 64, source_sha256="1" * 64, width=3, height=4
    )
    manifest = Manifest(
        name="set",
        source="https://example.org",
        files=(file,),
        undecodable=(UndecodableFile(name="b.png", reason="not a picture"),),
        archives=(ArchiveFile(name="x.zip", sha256="2" * 64, members="*", md5="3" * 32),),
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
