"""What a service answers: to pictures and streams, and to what is neither."""

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.arrays import Rgb
from components.cli import coding
from components.codecs.bitstream import parse
from components.codecs.exported import ExportedCodec
from components.data.image_files import decode_rgb
from tests.components.serving.running import Running, running


@pytest.fixture(scope="module")
def service(exported: Path) -> Iterator[Running]:
    with running(exported, "--megapixels=1", "--megabytes=0.5") as service:
        yield service


@pytest.fixture(scope="module")
def stream(service: Running, picture: bytes) -> bytes:
    return service.compress(picture).content


def test_a_picture_compresses_as_on_the_command_line(
    service: Running, exported: Path, picture: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.png").write_bytes(picture)
    for effort in (0, 1):
        answer = service.compress(picture, effort=effort)
        codec = ExportedCodec(exported)
        coding.compress(codec, str(tmp_path / "photo.png"), str(tmp_path / "photo.rw"), effort=effort)
        assert answer.content == (tmp_path / "photo.rw").read_bytes()
        assert answer.headers["content-type"] == "application/octet-stream"
        facts = {name: answer.headers[f"ratewright-{name}"] for name in ("codec", "model", "width", "height", "bpp")}
        bpp = f"{8 * len(answer.content) / (192 * 160):.4f}"
        model = codec.model_hash.hex()
        assert facts == {"codec": "minnen", "model": model, "width": "192", "height": "160", "bpp": bpp}


def test_a_stream_decompresses_as_in_this_process(service: Running, exported: Path, stream: bytes) -> None:
    expected = ExportedCodec(exported).decode(stream)
    for options, kind in (({}, "image/png"), ({"format": "ppm"}, "image/x-portable-pixmap")):
        answer = service.decompress(stream, **options)
        assert answer.headers["content-type"] == kind
        assert answer.headers["ratewright-width"] == "192"
        np.testing.assert_array_equal(decode_rgb(answer.content), expected)


def file(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, kind)
    return written.getvalue()


ODD: dict[str, Callable[[], bytes]] = {
    "16 bits": lambda: file(np.full((40, 50), 1 << 15, np.uint16)),
    "grey": lambda: file(np.full((40, 50), 90, np.uint8)),
    "one pixel": lambda: file(np.full((1, 1, 3), 90, np.uint8)),
    "gif": lambda: file(np.full((40, 50), 90, np.uint8), "GIF"),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_pictures_are_taken(service: Running, kind: str) -> None:
    given = ODD[kind]()
    answer = service.compress(given)
    assert answer.status_code == 200
    assert decode_rgb(service.decompress(answer.content).content).shape == decode_rgb(given).shape


def bomb() -> bytes:
    """A PNG whose header claims 3.6 billion pixels, followed by a few."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10000))) + chunk(b"IEND", b"")


def changed(stream: bytes, place: int) -> bytes:
    other = bytearray(stream)
    other[place] ^= 1
    return bytes(other)


NO_PICTURES: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "not a picture in a known format": (415, lambda _: b"hello"),
    "truncated": (422, lambda picture: picture[: len(picture) // 2]),
    "checksum of its pixels": (422, lambda picture: changed(picture, len(picture) // 2)),
    "60000x60000 pixels are more than the 1000000": (413, lambda _: bomb()),
    "more than the 500000 bytes": (413, lambda _: bytes(500_001)),
    "no body": (422, lambda _: b""),
}


@pytest.mark.parametrize("said", NO_PICTURES)
def test_no_picture_is_refused_in_one_line(service: Running, said: str, picture: bytes) -> None:
    status, make = NO_PICTURES[said]
    assert_refused(service, "/compress", make(picture), status, said)


NO_STREAMS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "not a Ratewright bitstream": (415, lambda _: b"hello"),
    "truncated bitstream": (422, lambda stream: stream[:-5]),
    "header's checksum": (422, lambda stream: changed(stream, 12)),
    "payload's checksum": (422, lambda stream: changed(stream, -3)),
    "written by minnen model 0000000000000000": (409, lambda s: replace(parse(s), model_hash=bytes(8)).pack()),
    "1024x1024 pixels are more than": (413, lambda stream: replace(parse(stream), width=1024, height=1024).pack()),
}


@pytest.mark.parametrize("said", NO_STREAMS)
def test_no_stream_is_refused_in_one_line(service: Running, said: str, stream: bytes) -> None:
    status, make = NO_STREAMS[said]
    assert_refused(service, "/decompress", make(stream), status, said)


@pytest.mark.parametrize("path", ["/compress?effort=2", "/decompress?format=gif"])
def test_options_that_do_not_exist_are_refused_in_one_line(service: Running, path: str) -> None:
    assert_refused(service, path, b"", 422, path.partition("?")[2].partition("=")[0])


def assert_refused(service: Running, path: str, body: bytes, status: int, said: str) -> None:
    answer = service.http.post(path, content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_body_of_unknown_length_is_measured_as_it_comes(service: Running, picture: bytes) -> None:
    assert service.http.post("/compress", content=iter((picture[:999], picture[999:]))).status_code == 200
    too_much = service.http.post("/compress", content=iter(bytes(10_000) for _ in range(60)))
    assert too_much.status_code == 413


def test_no_route_is_a_line_too(service: Running) -> None:
    assert (service.http.get("/nowhere").status_code, service.http.get("/compress").status_code) == (404, 405)
    assert service.http.get("/nowhere").json() == {"error": "Not Found"}


def test_health_says_what_serves(service: Running, exported: Path) -> None:
    model = ExportedCodec(exported).model_hash.hex()
    expected = {"status": "ready", "source": str(exported), "codec": "minnen", "model": model, "workers": 1}
    assert service.health().items() >= {**expected, "waiting": 0, "problem": None}.items()


def test_metrics_count_requests_bytes_and_pixels(service: Running, photograph: Rgb, picture: bytes) -> None:
    names = [
        'ratewright_requests_total{status="200",work="compress"}',
        'ratewright_request_seconds_count{work="compress"}',
        'ratewright_received_bytes_total{work="compress"}',
        'ratewright_sent_bytes_total{work="compress"}',
        'ratewright_pixels_total{work="compress"}',
        'ratewright_requests_total{status="415",work="compress"}',
    ]
    before = [service.metric(name) for name in names]
    size = len(service.compress(picture).content)
    service.compress(b"hello")
    difference = [service.metric(name) - earlier for name, earlier in zip(names, before, strict=True)]
    assert difference == [1, 2, len(picture) + 5, size, photograph.shape[0] * photograph.shape[1], 1]
    model = service.health()
    labels = f'codec="minnen",model="{model["model"]}",version="{model["version"]}"'
    assert service.metric(f"ratewright_model{{{labels}}}") == 1
    assert (service.metric("ratewright_workers"), service.metric("ratewright_queue_length")) == (1, 0)


def test_the_page_names_the_routes_and_loads_nothing(service: Running) -> None:
    page = service.http.get("/docs")
    paths = service.http.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/compress", "/decompress", "/health", "/metrics"}
    assert all(path in page.text for path in paths)
    assert re.findall(r"<script|<img|<link|src=|url\(", page.text) == []
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
