"""The REST API of the Airflow on this machine: start a run of a DAG, and follow its tasks.

apache-airflow-client, Airflow's own client, has no log-in, and its wait for a run does not report tasks: it would
replace no more than the paths of three requests.
"""

import json
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from components.errors import RatewrightError
from pipeline.schedule.airflow_settings import PORT, URL, USER, password

if TYPE_CHECKING:
    import httpx

POLL_S = 2.0
"""Seconds between two looks at a run."""
_PAGE = 100
"""Task instances of a page: the most that Airflow gives at once."""
_UNREPORTED = ("none", "scheduled", "queued", "skipped", "up_for_reschedule")
"""States of a task that the log leaves out; a task that waits for others looks again and again."""

logger = logging.getLogger(__name__)


class Api:
    """A session with Airflow's REST API, closed at the end of its context.

    Every method raises RatewrightError with one line if Airflow does not answer or refuses.
    """

    def __init__(self) -> None:
        import httpx

        self._client = httpx.Client(base_url=URL, timeout=60)
        self._log_in()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a request with a JSON body; returns the JSON answer. A token that has expired is renewed."""
        answer = self._send(method, path, body)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._log_in()
            answer = self._send(method, path, body)
        return _content(answer)

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run of a DAG with the parameters `conf`; returns the run's id."""
        return str(self.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run, gathered from the pages that Airflow gives them in."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = []
        while True:
            page = self.call("GET", f"{path}?limit={_PAGE}&offset={len(found)}")
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def follow(self, dag: str, run_id: str) -> str:
        """Log the state changes of a run's tasks until the run ends; returns the run's state."""
        run = f"/api/v2/dags/{dag}/dagRuns/{run_id}"
        known: dict[str, str] = {}
        while True:
            state = str(self.call("GET", run)["state"])
            for task in self.tasks(dag, run_id):
                name, present = task["task_id"], task["state"] or "none"
                if present != known.get(name) and present not in _UNREPORTED:
                    _log_task(dag, task)
                    known[name] = present
            if state in ("success", "failed"):
                logger.info(f"{dag}: {run_id} {state}")
                return state
            time.sleep(POLL_S)

    def _log_in(self) -> None:
        answer = _content(self._send("POST", "/auth/token", {"username": USER, "password": password()}))
        self._client.headers["authorization"] = f"Bearer {answer['access_token']}"

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> "httpx.Response":
        import httpx

        try:
            return self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise RatewrightError(
                f"Airflow does not answer on port {PORT} ({error}); `make airflow` runs it"
            ) from error


def _content(answer: "httpx.Response") -> dict[str, Any]:
    """The JSON of an answer. Raises RatewrightError with Airflow's reason if it is a refusal."""
    if answer.is_error:
        raise RatewrightError(f"Airflow: {_detail(answer.text)}")
    return dict(answer.json())


def _log_task(dag: str, task: dict[str, Any]) -> None:
    state, duration = task["state"], task["duration"]
    took = f" after {duration:.1f} s" if state == "success" and duration else ""
    level = logging.WARNING if state in ("failed", "upstream_failed", "up_for_retry") else logging.INFO
    logger.log(level, f"{dag}: {task['task_id']} {state.replace('_', ' ')}{took}")


def _detail(text: str) -> str:
    """The reason in the body of an error response, in one line."""
    try:
        detail = json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:300]
    return " ".join((detail if isinstance(detail, str) else json.dumps(detail)).split())
