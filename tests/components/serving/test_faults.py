"""A service under floods, kills and limits: what happens to one request, others do not notice."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.components.serving.running import PATIENCE_S, ROOT, Running, lives, running, wait_for


@pytest.fixture(scope="module")
def service(exported: Path) -> Iterator[Running]:
    """With one worker, for which two requests may wait."""
    with running(exported, "--queue=2") as service:
        yield service


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def at_work(service: Running, clients: ThreadPoolExecutor, picture: bytes) -> Future[httpx.Response]:
    """A request that a worker has begun."""
    worker = service.worker()
    before = worker.cpu_times().user
    request = clients.submit(service.compress, picture)
    wait_for(lambda: worker.cpu_times().user > before + 0.05, "work")
    return request


def test_of_a_flood_as_many_wait_as_may(
    service: Running, clients: ThreadPoolExecutor, picture: bytes, large_picture: bytes
) -> None:
    running_one = at_work(service, clients, large_picture)
    answers = [each.result() for each in [clients.submit(service.compress, picture) for _ in range(6)]]
    assert running_one.result().status_code == 200
    assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json() == {"error": "too many requests wait already"}
    assert service.compress(picture).status_code == 200


def test_a_killed_worker_is_replaced_and_only_its_request_fails(
    service: Running, clients: ThreadPoolExecutor, picture: bytes, large_picture: bytes
) -> None:
    ends = service.metric("ratewright_worker_ends_total")
    victim = at_work(service, clients, large_picture)
    other = clients.submit(service.compress, picture)
    wait_for(lambda: service.health()["waiting"] == 1, "waiting request")
    worker = service.worker()
    worker.kill()
    answer = victim.result()
    assert (answer.status_code, "ended" in answer.json()["error"]) == (503, True)
    assert int(answer.headers["retry-after"]) >= 1
    assert other.result().status_code == 200
    assert service.metric("ratewright_worker_ends_total") == ends + 1


def test_a_worker_that_is_killed_idle_is_missed_by_nobody(service: Running, picture: bytes) -> None:
    service.kill_worker()
    assert service.compress(picture).status_code == 200


def test_a_client_that_leaves_costs_nothing(
    service: Running, clients: ThreadPoolExecutor, picture: bytes, large_picture: bytes
) -> None:
    left = 'ratewright_requests_total{status="499",work="compress"}'
    before, first = service.metric(left), at_work(service, clients, large_picture)
    with pytest.raises(httpx.ReadTimeout):
        service.http.post("/compress", content=large_picture, timeout=0.1)
    assert first.result().status_code == 200
    wait_for(lambda: service.metric(left) == before + 1, "client that left")
    assert service.compress(picture).status_code == 200


def test_work_that_takes_too_long_is_ended(exported: Path, picture: bytes, large_picture: bytes) -> None:
    with running(exported, "--seconds=0.5") as service:
        answer = service.compress(large_picture)
        assert (answer.status_code, answer.json()) == (504, {"error": "this takes longer than the 0.5 s allowed"})
        wait_for(lambda: service.compress(picture).status_code == 200, "answer of the next worker")


def test_a_picture_that_takes_too_much_memory_is_refused(exported: Path, picture: bytes, large_picture: bytes) -> None:
    with running(exported, "--memory=150") as service:
        worker = service.worker()
        answer = service.compress(large_picture)
        assert (answer.status_code, "memory" in answer.json()["error"]) == (413, True)
        assert service.compress(picture).status_code == 200
        assert not lives(worker)


def test_a_body_that_does_not_come_is_waited_for_so_long(exported: Path) -> None:
    with running(exported, "--seconds=0.5") as service:
        address = service.http.base_url
        with socket.create_connection((address.host, address.port or 80), PATIENCE_S) as connection:
            connection.sendall(b"POST /compress HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello")
            assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_service_that_is_stopped_finishes_what_waits(
    exported: Path, clients: ThreadPoolExecutor, picture: bytes, large_picture: bytes
) -> None:
    with running(exported) as service:
        first = at_work(service, clients, large_picture)
        second = clients.submit(service.compress, picture)
        wait_for(lambda: service.health()["waiting"] == 1, "waiting request")
        worker = service.worker()
        for process in (psutil.Process(service.process.pid), worker):  # as a service manager does
            process.send_signal(signal.SIGTERM)
        assert (first.result().status_code, second.result().status_code) == (200, 200)
        assert service.stopped() == 0
        assert not lives(worker)
        with pytest.raises(httpx.ConnectError):
            service.http.get("/health")


def test_a_service_does_not_finish_for_ever(exported: Path, clients: ThreadPoolExecutor, large_picture: bytes) -> None:
    with running(exported, "--grace=1") as service:
        requests = [at_work(service, clients, large_picture)]
        requests += [clients.submit(service.compress, large_picture) for _ in range(7)]
        wait_for(lambda: int(str(service.health()["waiting"])) == 7, "waiting requests")
        worker = service.worker()
        service.process.terminate()
        assert service.stopped() == 0
        assert not lives(worker)
        assert {request.result().status_code for request in requests} >= {503}


def test_a_killed_service_leaves_no_worker(exported: Path, clients: ThreadPoolExecutor, large_picture: bytes) -> None:
    with running(exported) as service:
        request, worker = at_work(service, clients, large_picture), service.worker()
        service.process.kill()
        wait_for(lambda: not lives(worker), "end of the worker")
        assert isinstance(request.exception(), httpx.TransportError)


def test_a_codec_that_does_not_load_ends_the_service_in_one_line(tmp_path: Path, exported: Path) -> None:
    (tmp_path / "codec.json").write_text("{}")
    mistakes = {
        "no exported codec and no checkpoint": ["nowhere"],
        "not an exported codec": [str(tmp_path)],
        "--megapixels 0": [str(exported), "--megapixels=0"],
        "models:/NAME@ALIAS": ["models:/name"],
    }
    for said, arguments in mistakes.items():
        command = [sys.executable, "-m", "pipeline.cli", "-q", "serve", "--port=0", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
