"""A session with Airflow's REST API, here a server that plays a short run back."""

import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from components.errors import RatewrightError
from pipeline.schedule import airflow_api
from pipeline.schedule.airflow_api import Api

RUN = "/api/v2/dags/retrain/dagRuns/one"
TASKS: list[list[dict[str, Any]]] = [
    [{"task_id": "prepare", "state": "success", "duration": 1.25}, {"task_id": "commit", "state": "running"}],
    [{"task_id": "prepare", "state": "success", "duration": 1.25}, {"task_id": "commit", "state": "up_for_reschedule"}],
    [{"task_id": "prepare", "state": "success", "duration": 1.25}, {"task_id": "commit", "state": "running"}],
    [{"task_id": "prepare", "state": "success", "duration": 1.25}, {"task_id": "commit", "state": "up_for_retry"}],
    [{"task_id": "prepare", "state": "success", "duration": 1.25}, {"task_id": "commit", "state": "failed"}],
]
"""The tasks of the run, at each time that they are asked for."""


class Playback(BaseHTTPRequestHandler):
    """Airflow's answers to a user that may start the DAG `retrain` alone; a page has one task."""

    polls = 0
    tokens = 0
    """The tokens given so far; only the last one is good."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/auth/token":
            if body["password"] != "secret":
                self.answer(401, {"detail": "wrong password"})
                return
            Playback.tokens += 1
            self.answer(201, {"access_token": f"t{Playback.tokens}"})
        elif self.headers["authorization"] != f"Bearer t{Playback.tokens}":
            self.answer(401, {"detail": "no token"})
        elif self.path.startswith("/api/v2/dags/retrain/"):
            self.answer(200, {"dag_run_id": body["conf"]["name"]})
        else:
            self.answer(404, {"detail": "no such\nDAG"})

    def do_GET(self) -> None:
        if self.headers["authorization"] != f"Bearer t{Playback.tokens}":
            self.answer(401, {"detail": "the token has expired"})
        elif self.path == RUN:
            self.answer(200, {"state": "failed" if Playback.polls == len(TASKS) - 1 else "running"})
        else:
            tasks = [{"duration": None, **task} for task in TASKS[Playback.polls]]
            offset = int(parse_qs(urlsplit(self.path).query)["offset"][0])
            self.answer(200, {"task_instances": tasks[offset : offset + 1], "total_entries": len(tasks)})
            Playback.polls += offset + 1 == len(tasks)

    def answer(self, status: int, body: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    Playback.polls = Playback.tokens = 0
    server = HTTPServer(("127.0.0.1", 0), Playback)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setattr(airflow_api, "URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(airflow_api, "POLL_S", 0.0)
    monkeypatch.setattr(airflow_api, "password", lambda: "secret")
    with Api() as session:
        yield session
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_run_is_started_and_followed_to_its_end(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert api.trigger("retrain", {"name": "one"}) == "one"
    assert api.follow("retrain", "one") == "failed"
    assert [(record.levelname, record.message) for record in caplog.records if record.name == airflow_api.__name__] == [
        ("INFO", "retrain: prepare success after 1.2 s"),
        ("INFO", "retrain: commit running"),
        ("WARNING", "retrain: commit up for retry"),
        ("WARNING", "retrain: commit failed"),
        ("INFO", "retrain: one failed"),
    ]


def test_a_token_that_expires_meanwhile_is_renewed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    Playback.tokens += 1
    assert api.follow("retrain", "one") == "failed"
    assert Playback.tokens == 3
    Playback.tokens += 1
    assert api.trigger("retrain", {"name": "again"}) == "again"
    Playback.tokens += 1
    monkeypatch.setattr(airflow_api, "password", lambda: "another")
    with pytest.raises(RatewrightError, match=r"^Airflow: wrong password$"):
        api.trigger("retrain", {"name": "again"})


def test_a_refusal_is_one_line_with_airflows_reason(api: Api) -> None:
    with pytest.raises(RatewrightError, match=r"^Airflow: no such DAG$"):
        api.trigger("other", {"name": "two"})


def test_an_airflow_that_does_not_run_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(airflow_api, "URL", "http://127.0.0.1:9")
    monkeypatch.setattr(airflow_api, "password", lambda: "secret")
    with pytest.raises(RatewrightError, match="`make airflow` runs it") as refused:
        Api()
    assert "\n" not in str(refused.value)
