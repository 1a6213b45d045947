"""A registry that fails: one line in every function and command."""

import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from pipeline.registry.client import TrackingError, client
from pipeline.registry.loading import codec_that_wrote, registered_codec
from pipeline.registry.models import CHAMPION, RegisteredModel
from pipeline.registry.promotion import roll_back
from pipeline.registry.runs import Run, training_seconds
from tests.forks import Forks

# MLflow and its dependencies warn; that is not for this project to fix.
pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[3]
Json = dict[str, Any]


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError, match=r"MLflow at http://127\.0\.0\.1:9: ") as caught:
        client(tmp_path)
    assert "\n" not in str(caught.value)


class Failing(BaseHTTPRequestHandler):
    """A server whose database knows the experiment and a champion, and fails at everything else."""

    known: ClassVar[Json] = {
        "experiments/get-by-name": {"experiment": {"experiment_id": "1", "name": "ratewright"}},
        "registered-models/alias": {"model_version": {"name": "codec", "version": "2", "tags": []}},
    }

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].removeprefix("/api/2.0/mlflow/")
        self.send_response(200 if path in self.known else 500)
        self.end_headers()
        self.wfile.write(json.dumps(self.known.get(path, {"message": "no\ndatabase"})).encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def failing_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = HTTPServer(("127.0.0.1", 0), Failing)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.usefixtures("failing_server")
def test_a_server_that_fails_meanwhile_is_one_line(tmp_path: Path) -> None:
    model = RegisteredModel(tmp_path, "codec")
    assert model.alias(CHAMPION) == "2"
    for action in (
        lambda: roll_back(model),
        lambda: model.versions(),
        lambda: model.point(CHAMPION, "1"),
        lambda: model.tag("1", key="value"),
        lambda: model.tags("1"),
        lambda: codec_that_wrote(tmp_path, "wcae", bytes(8)),
        lambda: registered_codec(tmp_path, "models:/codec/1"),
        lambda: Run(tmp_path, "training", "identity", {}),
        lambda: training_seconds(tmp_path, "identity"),
    ):
        with pytest.raises(TrackingError, match="500") as caught:
            action()
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("failing_server")
def test_a_rollback_that_fails_exits_with_one_line(python: Forks) -> None:
    done = python("pipeline.cli", "rollback", "codec", cwd=ROOT, environment={**os.environ})
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: codec version 2: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_database_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it for the registry of the tests before
    (tmp_path / "mlflow.db").write_text("this is no database" * 100)
    with pytest.raises(TrackingError, match="file is not a database") as caught:
        client(tmp_path)
    assert "\n" not in str(caught.value)
