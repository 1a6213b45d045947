import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.errors import SourceError
from components.storage import remote as remote_sources
from components.storage.remote import Http
from components.storage.sources import open_source
from tests.site import Site

CONTENT = bytes(range(256)) * 5000


def range_of(content: bytes, offset: int = 0, size: int | None = None) -> bytes:
    return content[offset:] if size is None else content[offset : offset + size]


@pytest.fixture
def http(site: Site) -> Iterator[Http]:
    source = open_source(site.address + "set")
    assert isinstance(source, Http)
    yield source
    source.close()


def test_http_downloads_and_creates_folders(site: Site, http: Http, tmp_path: Path) -> None:
    site.files["set/a%20b/%C3%A9.png"] = CONTENT
    http.download("a b/é.png", tmp_path / "new" / "x.png")
    assert (tmp_path / "new" / "x.png").read_bytes() == CONTENT
    assert len(site.requests) == 1


@pytest.mark.parametrize("fault", [503, 500, 429, "short", "hang up"])
def test_http_tries_again_what_may_pass(site: Site, http: Http, tmp_path: Path, fault: int | str) -> None:
    site.files["set/x"] = CONTENT
    site.faults["set/x"] = [fault] * (remote_sources.ATTEMPTS - 1)
    http.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert len(site.requests) == remote_sources.ATTEMPTS


@pytest.mark.parametrize("fault", [503, "short"])
def test_http_gives_up_and_leaves_nothing(site: Site, http: Http, tmp_path: Path, fault: int | str) -> None:
    site.files["set/x"] = CONTENT
    site.faults["set/x"] = [fault] * 100
    with pytest.raises(SourceError, match=rf"{site.address}set/x: .*tried {remote_sources.ATTEMPTS} times") as caught:
        http.download("x", tmp_path / "x")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [404, 403])
def test_http_does_not_insist_on_what_is_refused(site: Site, http: Http, tmp_path: Path, status: int) -> None:
    site.files["set/x"] = CONTENT
    site.faults["set/x"] = [status]
    with pytest.raises(SourceError, match=f"{site.address}set/x: {status} "):
        http.download("x", tmp_path / "x")
    assert len(site.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_http_fingerprint(site: Site, http: Http) -> None:
    site.files["set/x"] = b"one"
    site.faults["set/x"] = [503]
    before = http.fingerprint("x")
    site.files["set/x"] = b"another"
    assert before == http.fingerprint("x").replace("7", "3") != http.fingerprint("x")
    with pytest.raises(SourceError, match="404"):
        http.fingerprint("y")


@pytest.mark.parametrize("ranges", [True, False])
def test_http_reads_a_part(site: Site, http: Http, ranges: bool) -> None:
    site.ranges, site.files["set/a%20b"] = ranges, CONTENT
    site.faults["set/a%20b"] = [503, "short", "hang up"]
    assert http.read("a b", 1000, 300) == CONTENT[1000:1300]
    assert http.read("a b", len(CONTENT) - 7, 20) == CONTENT[-7:], "fewer where the file ends"
    assert http.read("a b", len(CONTENT), 20) == b""
    assert http.read("a b", 5) == CONTENT[5:]
    assert http.read("a b") == CONTENT
    assert len(site.requests) == (8 if ranges else 7), "half of the whole file had been enough"
    with pytest.raises(SourceError, match="404"):
        http.read("none", 0, 1)


def test_http_of_a_server_without_ranges_is_not_read_to_the_end(site: Site, http: Http) -> None:
    site.ranges, site.files["set/x"] = False, CONTENT + bytes(1 << 26)
    assert http.read("x", 1000, 300) == CONTENT[1000:1300]
    assert site.sent < len(site.files["set/x"]) / 2


def test_http_reads_parts_over_one_connection(site: Site, http: Http) -> None:
    site.files["set/x"] = CONTENT
    for at in range(3):
        http.read("x", at, 10)
    assert site.connections == 1


def test_http_cannot_be_listed(http: Http) -> None:
    with pytest.raises(SourceError, match="manifest or an explicit list"):
        http.list()


def test_http_host_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote_sources, "BACKOFF_S", 0.001)
    site = Site()
    site.close()
    source = open_source(site.address)
    with pytest.raises(SourceError, match=f"{site.address}x: .*refused"):
        source.download("x", tmp_path / "x")
    source.close()


@pytest.mark.parametrize("location", ["{}", "file://{}"])
def test_folder(tmp_path: Path, location: str) -> None:
    root = tmp_path / "a folder"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "x.png").write_bytes(b"x")
    (root / "y.png").write_bytes(b"y")
    (root / ".hidden").write_bytes(b"z")
    source = open_source(location.format(root))
    assert source.list() == ["sub/x.png", "y.png"]
    source.download("sub/x.png", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"x"
    before = source.fingerprint("y.png")
    (root / "y.png").write_bytes(b"longer")
    assert [source.read("y.png", *part) for part in ((), (2,), (2, 2), (4, 9), (9, 9))] == [
        *(b"longer", b"nger", b"ng", b"er", b"")
    ]
    assert source.fingerprint("y.png") != before


def test_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere: no such folder"):
        open_source(str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path)).download("x", tmp_path / "y")
    with pytest.raises(SourceError, match="no such file"):
        open_source(str(tmp_path)).read("x", 0, 1)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\\b"])
def test_names_stay_inside(site: Site, http: Http, tmp_path: Path, name: str) -> None:
    for source in (http, open_source(str(tmp_path)), open_source("bundled")):
        with pytest.raises(SourceError, match="not a file name inside"):
            source.download(name, tmp_path / "y")
    assert site.requests == []


def test_bundled_photographs(tmp_path: Path) -> None:
    source = open_source("bundled")
    assert {"astronaut.png", "china.jpg"} <= set(source.list())
    source.download("astronaut.png", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"
    assert source.read("astronaut.png", 1, 3) == b"PNG"
    assert len(source.fingerprint("china.jpg")) == 64
    with pytest.raises(SourceError, match=r"bundled: .*nothing\.png"):
        source.download("nothing.png", tmp_path / "b.png")


@pytest.mark.parametrize("location", ["ftp://host/x", "gs://bucket/x", "s3:///x"])
def test_other_locations(location: str) -> None:
    with pytest.raises(SourceError, match=location):
        open_source(location)


def test_the_module_loads_no_heavy_package() -> None:
    code = (
        "import sys; from components.storage.sources import open_source; open_source('bundled').list();"
        "print(*({'httpx', 'boto3', 'skimage.io', 'sklearn', 'cv2', 'tenacity', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_s3(s3: Any, tmp_path: Path) -> None:
    for key in ("a/sub/x y.png", "a/y.png", "ab/z.png", "a/"):
        s3.put_object(Bucket="bucket", Key=key, Body=CONTENT)
    source = open_source("s3://bucket/a")
    assert source.list() == ["sub/x y.png", "y.png"]
    source.download("sub/x y.png", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    for part in ((), (5,), (1000, 300), (len(CONTENT) - 7, 20), (len(CONTENT), 20)):
        assert source.read("sub/x y.png", *part) == range_of(CONTENT, *part)
    before = source.fingerprint("y.png")
    s3.put_object(Bucket="bucket", Key="a/y.png", Body=b"other")
    assert source.fingerprint("y.png") != before
    source.close()
    whole = open_source("s3://bucket")
    assert "ab/z.png" in whole.list()
    whole.close()


@pytest.mark.usefixtures("s3")
def test_s3_what_is_missing(tmp_path: Path) -> None:
    nowhere = open_source("s3://no-such-bucket/a")
    acts: list[Callable[[], object]] = [nowhere.list, lambda: nowhere.download("x", tmp_path / "x")]
    for act in acts:
        with pytest.raises(SourceError, match=r"^s3://no-such-bucket: no such bucket$"):
            act()
    nowhere.close()
    source = open_source("s3://bucket/a")
    acts = [
        lambda: source.download("none.png", tmp_path / "x"),
        lambda: source.fingerprint("none.png"),
        lambda: source.read("none.png", 5, 5),
    ]
    for act in acts:
        with pytest.raises(SourceError, match=r"^s3://bucket/a/none\.png: 404"):
            act()
    source.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("s3")
def test_s3_without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    source = open_source("s3://bucket/a")
    with pytest.raises(SourceError, match="AWS credentials"):
        source.list()
    source.close()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SourceError, match="nobody"):
        open_source("s3://bucket/a")


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("fault", [503, "short", "hang up"])
def test_s3_tries_again(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: Any) -> None:
    site.files["bucket/x"] = CONTENT
    site.faults["bucket/x"] = [fault, fault]
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.address)
    source = open_source("s3://bucket")
    source.download("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert len(site.requests) == 3
    site.faults["bucket/x"] = [fault, fault]
    assert source.read("x", 1000, 300) == CONTENT[1000:1300]
    assert len(site.requests) == 6
    source.close()


@pytest.mark.usefixtures("s3")
def test_s3_endpoint_that_cannot_be_reached(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", site.address)
    source = open_source("s3://bucket/a")
    with pytest.raises(SourceError, match=r"s3://bucket/a.*connect.*tried"):
        source.list()
    source.close()
