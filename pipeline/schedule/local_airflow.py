"""Airflow on this machine: `python -m pipeline.schedule.local_airflow up | retrain` runs it, or starts a run in it."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from components.errors import RatewrightError
from components.storage.atomic import write_json
from pipeline.entry import console, guarded
from pipeline.paths import CHECKOUT

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

HOME = Path(os.environ.get("AIRFLOW_HOME") or CHECKOUT / ".airflow")
PORT = int(os.environ.get("RATEWRIGHT_AIRFLOW_PORT", "8080"))
USER = "admin"

_SERVICES = ("api-server", "scheduler", "dag-processor")
_START_S, _STOP_S, _POLL_S = 180, 30, 2.0


@app.command()
def up() -> None:
    """Run Airflow until Ctrl-C: SQLite, LocalExecutor, its pages on loopback."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    environment = settings()
    _airflow(environment, "db", "migrate")
    _airflow(environment, "pools", "set", "accelerator", str(_accelerators()), "stages that train")
    with _services(environment) as services:
        _wait_until_healthy(services)
        console.print(f"Airflow: http://127.0.0.1:{PORT}, user {USER}, password {_password()}")
        console.print(f"Airflow: logs in {HOME / 'logs'}; Ctrl-C stops it")
        while all(service.poll() is None for service in services.values()):
            time.sleep(_POLL_S)
        _refuse_dead(services)


@app.command()
def retrain(
    profile: Annotated[str | None, typer.Option(help="a file of profiles/")] = None,
    mirror: Annotated[str | None, typer.Option(help="a folder, http(s):// or s3:// prefix")] = None,
    variants: Annotated[str | None, typer.Option(help="codecs to train, separated by commas")] = None,
    target_bpp: Annotated[float | None, typer.Option(help="bits per pixel")] = None,
    training_steps: Annotated[int | None, typer.Option(help="training steps of each codec")] = None,
) -> None:
    """Start a run of the DAG `retrain` and follow it to its end."""
    asked = {
        "profile": profile,
        "mirror": mirror,
        "variants": None if variants is None else variants.split(","),
        "target_bpp": target_bpp,
        "training_steps": training_steps,
    }
    api = Api()
    run_id = api.trigger("retrain", {key: value for key, value in asked.items() if value is not None})
    console.print(f"retrain: {run_id}, http://127.0.0.1:{PORT}/dags/retrain/runs/{run_id}")
    state = api.follow("retrain", run_id)
    if state != "success":
        raise RatewrightError(f"the run {run_id} ended as {state}; its tasks' logs say why")


class Api:
    """Airflow's REST API on this machine. Raises RatewrightError in one line."""

    def __init__(self) -> None:
        import httpx

        self._client = httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60)
        answer = self.call("POST", "/auth/token", {"username": USER, "password": _password()})
        self._client.headers["authorization"] = f"Bearer {answer['access_token']}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The JSON answer to a request."""
        import httpx

        try:
            answer = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise RatewrightError(
                f"Airflow does not answer on port {PORT} ({error}); `make airflow` runs it"
            ) from error
        if answer.is_error:
            raise RatewrightError(f"Airflow: {_detail(answer.text)}")
        return dict(answer.json())

    def trigger(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run with these parameters; its id."""
        return str(self.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def follow(self, dag: str, run_id: str) -> str:
        """Say what each task comes to until the run ends; its state."""
        known: dict[str, str] = {}
        run = f"/api/v2/dags/{dag}/dagRuns/{run_id}"
        while True:
            state = str(self.call("GET", run)["state"])
            for task in self.call("GET", f"{run}/taskInstances?limit=1000")["task_instances"]:
                name, now = task["task_id"], task["state"] or "none"
                if now != known.get(name) and now not in ("none", "scheduled", "queued", "skipped"):
                    took = f" after {task['duration']:.1f} s" if now == "success" and task["duration"] else ""
                    console.print(f"{dag}: {name} {now.replace('_', ' ')}{took}")
                known[name] = now
            if state in ("success", "failed"):
                console.print(f"{dag}: {run_id} {state}")
                return state
            time.sleep(_POLL_S)


def settings() -> dict[str, str]:
    """The environment of Airflow's processes. Keys are made once and kept in its home, for its owner alone."""
    keys = _keys()
    chosen = {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(_at_once()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{PORT}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(PORT),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{PORT}",
        "AIRFLOW__API__SECRET_KEY": keys["api"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # Tasks run side by side: each gets its share of the cores.
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // _at_once())),
        "PYTHONPATH": str(CHECKOUT),
    }
    fixed = {key: value for key, value in chosen.items() if not (key.startswith("AIRFLOW__") and key in os.environ)}
    return {**os.environ, **fixed}


def _keys() -> dict[str, str]:
    path = HOME / "keys.json"
    if not path.exists():
        write_json(path, {name: secrets.token_urlsafe(32) for name in ("api", "jwt")})
        path.chmod(0o600)
    return dict(json.loads(path.read_text()))


def _password() -> str:
    path = HOME / "simple_auth_manager_passwords.json.generated"
    try:
        return str(json.loads(path.read_text())[USER])
    except FileNotFoundError as error:
        raise RatewrightError(f"Airflow has not run here yet ({path} is missing); `make airflow` runs it") from error


def _accelerators() -> int:
    """GPUs of this machine; without one, as many trainings at once as tasks."""
    if shutil.which("nvidia-smi") is None:
        return _at_once()
    found = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return len(found.stdout.splitlines()) or _at_once()


def _at_once() -> int:
    """How many tasks run side by side."""
    return max(2, (os.cpu_count() or 1) // 4)


def _airflow(environment: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(["airflow", *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RatewrightError(f"airflow {' '.join(arguments)}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


@contextmanager
def _services(environment: dict[str, str]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Airflow's processes, each leader of a group that is stopped as one."""
    services: dict[str, subprocess.Popen[bytes]] = {}
    (HOME / "logs").mkdir(parents=True, exist_ok=True)
    try:
        for name in _SERVICES:
            with (HOME / "logs" / f"{name}.log").open("ab") as log:
                services[name] = subprocess.Popen(
                    ["airflow", name], env=environment, stdout=log, stderr=log, start_new_session=True
                )
        yield services
    finally:
        console.print("Airflow: stopping")
        for service in services.values():
            _signal(service, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        for service in services.values():
            with suppress(subprocess.TimeoutExpired):
                service.wait(max(0.1, deadline - time.monotonic()))
            _signal(service, signal.SIGKILL)  # what is left of the group
            service.wait()


def _signal(service: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(service.pid, number)
    except ProcessLookupError:
        return


def _wait_until_healthy(services: dict[str, subprocess.Popen[bytes]]) -> None:
    import httpx

    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        _refuse_dead(services)
        with suppress(httpx.TransportError, ValueError, KeyError):
            health = httpx.get(f"http://127.0.0.1:{PORT}/api/v2/monitor/health", timeout=5).json()
            if all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                return
        time.sleep(_POLL_S)
    raise RatewrightError(f"Airflow was not healthy after {_START_S} s; see {HOME / 'logs'}")


def _refuse_dead(services: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, service in services.items():
        if service.poll() is not None:
            log = HOME / "logs" / f"{name}.log"
            raise RatewrightError(f"airflow {name} ended with {service.returncode}; see {log}")


def _detail(text: str) -> str:
    """What an error answer says."""
    try:
        detail = json.loads(text)["detail"]
    except (ValueError, KeyError, TypeError):
        return " ".join(text.split())[:300]
    return " ".join((detail if isinstance(detail, str) else json.dumps(detail)).split())


if __name__ == "__main__":
    guarded(app)
