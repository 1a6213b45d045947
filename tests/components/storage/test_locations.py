from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest
import torch

from components.errors import MissingError, SourceError
from components.storage.locations import exists, fetched, put, remove, storing
from components.training.callback import Validation
from components.training.state import TrainingState
from tests.components.storage.conftest import names
from tests.site import Site


def content(location: str) -> bytes:
    with fetched(location) as path:
        return path.read_bytes()


def test_a_file_comes_and_goes(place: str, tmp_path: Path) -> None:
    location = f"{place}/x y.bin"
    remove(location)
    assert not exists(location)
    with storing(location) as temporary:
        temporary.write_bytes(b"one")
        assert not exists(location), "not before it is whole"
    assert exists(location)
    assert content(location) == b"one"
    (tmp_path / "other").write_bytes(b"another")
    put(tmp_path / "other", location)
    assert content(location) == b"another"
    assert names(place) == ["x y.bin"]
    remove(location)
    assert not exists(location)
    assert names(place) == []


def test_what_fails_leaves_the_old_file(place: str) -> None:
    location = f"{place}/x"
    with storing(location) as temporary:
        temporary.write_bytes(b"old")
    with pytest.raises(OSError, match="no such"), storing(location) as temporary:
        temporary.write_bytes(b"half") and temporary.with_name("no such").read_bytes()
    assert content(location) == b"old"
    assert names(place) == ["x"]


@pytest.mark.usefixtures("s3")
def test_a_missing_object(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"^s3://bucket/nowhere/x: 404") as caught:
        content("s3://bucket/nowhere/x")
    assert "\n" not in str(caught.value)
    (tmp_path / "x").write_bytes(b"x")
    for attempt in (lambda: content("s3://no-such/x"), lambda: put(tmp_path / "x", "s3://no-such/x")):
        with pytest.raises(SourceError, match=r"^s3://no-such: no such bucket$"):
            attempt()


def test_a_missing_page(site: Site) -> None:
    site.files["x"] = b"page"
    assert content(f"{site.address}x") == b"page"
    with pytest.raises(MissingError, match=f"{site.address}y: 404"):
        content(f"{site.address}y")


def test_the_web_is_not_written_to(site: Site, tmp_path: Path) -> None:
    location = f"{site.address}x"
    (tmp_path / "x").write_bytes(b"x")
    attempts: list[Callable[[], object]] = [
        lambda: storing(location).__enter__(),
        lambda: put(tmp_path / "x", location),
        lambda: remove(location),
    ]
    for attempt in attempts:
        with pytest.raises(SourceError, match=f"^{location}: only a folder or s3:// can be written to$"):
            attempt()
    assert site.requests == []


VALIDATION = Validation(
    step=1,
    lmbda=0.01,
    lr=1e-3,
    train_loss=0.5,
    val_loss=0.4,
    val_psnr_db=20.0,
    val_bpp_estimated=0.3,
    skipped=0,
    diverged=False,
    calibration_bpp=None,
)


def a_state(step: int, size: int = 100) -> TrainingState:
    generator = torch.Generator().manual_seed(step)
    weights = {"w": torch.rand(size, generator=generator)}
    networks = {"0/model/w": torch.rand(size, generator=generator), "0/optimizer/0/step": torch.tensor(float(step))}
    return TrainingState("f", step, 1.5, best_parts=(0.1, 0.2), history=[VALIDATION], networks=networks, best=weights)


def assert_same(state: TrainingState, other: TrainingState) -> None:
    assert (state.step, state.history, state.best.keys()) == (other.step, other.history, other.best.keys())
    assert tuple(state.best_parts or ()) == tuple(other.best_parts or ())
    for own, others in ((state.best, other.best), (state.networks, other.networks)):
        assert own.keys() == others.keys()
        assert all(torch.equal(value, others[key]) for key, value in own.items())


def test_the_state_of_a_training(place: str) -> None:
    location = f"{place}/state.safetensors"
    assert TrainingState.load(location, "f").step == 0
    for step in (3, 4):
        a_state(step).save(location)
        assert_same(TrainingState.load(location, "f"), a_state(step))
    assert TrainingState.load(location, "another run").step == 0
    assert names(place) == ["state.safetensors"]


class Expired(BaseHTTPRequestHandler):
    """Answers as S3 does once a temporary token has run out."""

    BODY = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"

    def __init__(self, asked: list[str], *args: Any) -> None:
        self.asked = asked
        super().__init__(*args)

    def refuse(self) -> None:
        self.asked.append(self.command)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(400)
        self.send_header("Content-Length", str(len(self.BODY)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.BODY)

    do_GET = do_PUT = do_DELETE = do_HEAD = refuse  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.usefixtures("s3")
def test_a_token_that_expires_midway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    location = "s3://bucket/expired/state.safetensors"
    a_state(1).save(location)
    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Expired, asked)) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with monkeypatch.context() as later:
            later.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
            (tmp_path / "x").write_bytes(b"x")
            attempts: list[Callable[[], object]] = [
                lambda: a_state(2).save(location),
                lambda: put(tmp_path / "x", location),
                lambda: TrainingState.load(location, "f"),
                lambda: remove(location),
            ]
            for attempt in attempts:
                with pytest.raises(SourceError, match=f"^{location}: 400 ExpiredToken$"):
                    attempt()
            with pytest.raises(SourceError, match=f"^{location}: 400$"):
                exists(location)  # an answer to HEAD says no more
        server.shutdown()
    assert asked[:5] == ["PUT", "PUT", "GET", "DELETE", "HEAD"], "none is tried again"
    assert_same(TrainingState.load(location, "f"), a_state(1))


@pytest.mark.usefixtures("s3")
def test_a_key_that_is_refused(s3_server: str, tmp_path: Path) -> None:
    """moto checks access keys once it is asked to."""

    def after(requests: str) -> None:
        headers = {"Content-Type": "text/plain"}
        urlopen(Request(f"{s3_server}/moto-api/reset-auth", requests.encode(), headers)).close()

    (tmp_path / "x").write_bytes(b"x")
    after("0")
    try:
        with pytest.raises(SourceError, match=r"^s3://bucket/refused/x: 403 InvalidAccessKeyId$"):
            put(tmp_path / "x", "s3://bucket/refused/x")
    finally:
        after("Infinity")
    assert not exists("s3://bucket/refused/x")
