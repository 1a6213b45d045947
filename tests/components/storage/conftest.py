from pathlib import Path

import pytest

from components.storage.sources import open_source


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where files go: a folder, or a prefix in moto's S3."""
    if request.param == "folder":
        return str(tmp_path / "store")
    client = request.getfixturevalue("s3")
    for item in client.list_objects_v2(Bucket="bucket").get("Contents", []):
        client.delete_object(Bucket="bucket", Key=item["Key"])
    return "s3://bucket/a store"


def names(place: str) -> list[str]:
    """All that lies there, hidden files too."""
    if "://" in place:
        source = open_source(place)
        try:
            return source.list()
        finally:
            source.close()
    return sorted(path.name for path in Path(place).iterdir())
