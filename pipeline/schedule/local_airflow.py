"""Airflow on this machine: `python -m pipeline.schedule.local_airflow up` runs it, `retrain` starts a run in it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated

import typer

from components.errors import RatewrightError
from pipeline.paths import CHECKOUT
from pipeline.schedule.airflow_api import Api
from pipeline.schedule.airflow_settings import HOME, PORT, URL, USER, accelerator_slots, environment, password
from pipeline.schedule.stage_nodes import COMMITTED, dag_id, load
from pipeline.terminal import console, guarded

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)

Services = dict[str, subprocess.Popen[bytes]]

_SERVICES = ("api-server", "scheduler", "dag-processor")
_START_S, _STOP_S, _POLL_S = 180, 30, 2.0


@app.command()
def up() -> None:
    """Run Airflow until Ctrl-C: SQLite, LocalExecutor, pages on this machine only."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    variables = environment()
    _airflow(variables, "db", "migrate")
    _airflow(variables, "pools", "set", "accelerator", str(accelerator_slots()), "stages that train")
    with _services(variables) as services:
        _wait_until_healthy(services)
        console.print(f"Airflow: {URL}, user {USER}, password {password()}")
        console.print(f"Airflow: logs in {HOME / 'logs'}; Ctrl-C stops it")
        while all(service.poll() is None for service in services.values()):
            time.sleep(_POLL_S)
        _refuse_ended(services)


@app.command()
def retrain(
    profile: Annotated[str | None, typer.Option(help="a file of profiles/, such as real")] = None,
    mirror: Annotated[str | None, typer.Option(help="a folder, or an http(s):// or s3:// prefix")] = None,
    variants: Annotated[str | None, typer.Option(help="codecs to train, separated by commas")] = None,
    target_bpp: Annotated[float | None, typer.Option(help="target rate in bits per pixel")] = None,
    training_steps: Annotated[int | None, typer.Option(help="training steps of each codec")] = None,
) -> None:
    """Start a retraining and follow it to its end; without options, it uses params.yaml as it is."""
    dag = _dag_of(profile or COMMITTED)
    request = {
        "mirror": mirror,
        "variants": None if variants is None else variants.split(","),
        "target_bpp": target_bpp,
        "training_steps": training_steps,
    }
    with Api() as api:
        run_id = api.trigger(dag, {key: value for key, value in request.items() if value is not None})
        console.print(f"{dag}: {run_id}, {URL}/dags/{dag}/runs/{run_id}")
        state = api.follow(dag, run_id)
    if state != "success":
        raise RatewrightError(f"the run {run_id} ended as {state}; its tasks' logs give the reason")


def _dag_of(profile: str) -> str:
    """The DAG that retrains a profile. Raises RatewrightError if none is drawn."""
    if profile not in (drawn := load(CHECKOUT / "dags" / "stages.json")):
        known = ", ".join(name for name in drawn if name != COMMITTED)
        raise RatewrightError(f"no DAG for the profile {profile!r}; there are {known} (`make graph` adds new ones)")
    return dag_id(profile)


def _airflow(variables: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(["airflow", *arguments], env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RatewrightError(f"airflow {' '.join(arguments)}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")


@contextmanager
def _services(variables: dict[str, str]) -> Iterator[Services]:
    """Start Airflow's processes; at the end, stop each together with its children."""
    services: Services = {}
    (HOME / "logs").mkdir(parents=True, exist_ok=True)
    try:
        for name in _SERVICES:
            with (HOME / "logs" / f"{name}.log").open("ab") as log:
                services[name] = subprocess.Popen(
                    ["airflow", name], env=variables, stdout=log, stderr=log, start_new_session=True
                )
        yield services
    finally:
        console.print("Airflow: stopping")
        _stop(services)


def _stop(services: Services) -> None:
    """Terminate the process groups; kill the processes that remain after some seconds."""
    for service in services.values():
        _signal_group(service, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    for service in services.values():
        with suppress(subprocess.TimeoutExpired):
            service.wait(max(0.1, deadline - time.monotonic()))
        _signal_group(service, signal.SIGKILL)
        service.wait()


def _signal_group(service: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(service.pid, number)


def _wait_until_healthy(services: Services) -> None:
    import httpx

    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        _refuse_ended(services)
        with suppress(httpx.TransportError, ValueError, KeyError):
            health = httpx.get(f"{URL}/api/v2/monitor/health", timeout=5).json()
            if all(health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")):
                return
        time.sleep(_POLL_S)
    raise RatewrightError(f"Airflow on port {PORT} was not healthy after {_START_S} s; see {HOME / 'logs'}")


def _refuse_ended(services: Services) -> None:
    """Raise RatewrightError if one of the processes has ended."""
    for name, service in services.items():
        if service.poll() is not None:
            log = HOME / "logs" / f"{name}.log"
            raise RatewrightError(f"airflow {name} ended with {service.returncode}; see {log}")


if __name__ == "__main__":
    guarded(app)
