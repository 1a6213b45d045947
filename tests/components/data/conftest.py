import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.data.shard_reader import Shards
from components.storage import remote as remote_sources
from tests.components.data.sets import Web, picture
from tests.components.data.streams import on_site


@pytest.fixture
def shards(tiny_shards: Path) -> Shards:
    return Shards(str(tiny_shards))


@pytest.fixture
def own(tiny_shards: Path, tmp_path: Path) -> Path:
    """A copy of the shards to damage."""
    return shutil.copytree(tiny_shards, tmp_path / "own")


@pytest.fixture(params=["folder", "http", "s3"])
def location(request: pytest.FixtureRequest, tiny_shards: Path) -> Shards:
    """The same shards in a folder, on a web server, in a bucket."""
    match request.param:
        case "http":
            return on_site(request.getfixturevalue("site"), tiny_shards)
        case "s3":
            client = request.getfixturevalue("s3")
            for path in tiny_shards.iterdir():
                client.put_object(Bucket="bucket", Key=f"some/{path.name}", Body=path.read_bytes())
            return Shards("s3://bucket/some")
    return Shards(str(tiny_shards))


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    monkeypatch.setattr(remote_sources, "BACKOFF_S", 0.001)
    web = Web()
    yield web
    web.server.shutdown()
    web.server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures that stay, two that are written anew, and what is no picture."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.png").write_bytes(picture(1))
    (folder / "a.jpg").write_bytes(picture(2, kind="JPEG"))
    (folder / "grey.tif").write_bytes(picture(3, "L", "TIFF"))
    (folder / "sub" / "alpha.png").write_bytes(picture(4, "RGBA"))
    (folder / "README.md").write_text("photographs")
    return folder
