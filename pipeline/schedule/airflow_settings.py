"""Settings of the Airflow that runs on this machine: its folder, port, user and environment.

AIRFLOW_HOME and RATEWRIGHT_AIRFLOW_PORT move it; every AIRFLOW__SECTION__KEY that is set in the environment stays.
"""

import json
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from components.errors import RatewrightError
from pipeline.config import params
from pipeline.paths import CHECKOUT
from pipeline.schedule.machine import cores, gpus

HOME = Path(os.environ.get("AIRFLOW_HOME") or CHECKOUT / ".airflow")
PORT = int(os.environ.get("RATEWRIGHT_AIRFLOW_PORT", "8080"))
URL = f"http://127.0.0.1:{PORT}"
USER = "admin"
PASSWORDS = "simple_auth_manager_passwords.json.generated"
"""The file in `HOME` with the password that Airflow made."""


def environment() -> dict[str, str]:
    """The environment of Airflow's processes. Files with secrets are made first, where they do not exist."""
    keys = _keys()
    if not (passwords := HOME / PASSWORDS).exists():
        _write_private(passwords, "{}")  # Airflow adds its password to the file, and would make one that all can read
    chosen = {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(parallel_tasks()),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{URL}/execution/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(PORT),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__BASE_URL": URL,
        "AIRFLOW__API__SECRET_KEY": keys["api"],
        "AIRFLOW__API_AUTH__JWT_SECRET": keys["jwt"],
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "PYTHONPATH": str(CHECKOUT),
    }
    ours = {key: value for key, value in chosen.items() if not (key.startswith("AIRFLOW__") and key in os.environ)}
    return {**os.environ, **ours}


def password() -> str:
    """The password that Airflow made for its user. Raises RatewrightError if it has not run here yet."""
    path = HOME / PASSWORDS
    try:
        return str(json.loads(path.read_text())[USER])
    except (FileNotFoundError, KeyError) as error:
        raise RatewrightError(
            f"Airflow has not run here yet ({path} has no password); `make airflow` runs it"
        ) from error


def accelerator_slots() -> int:
    """Trainings that run side by side: one for each GPU; without a GPU, as many as tasks."""
    return gpus() or parallel_tasks()


def parallel_tasks() -> int:
    """Tasks that run side by side: as many as there are cores for the threads of each."""
    return max(2, cores() // params.load(CHECKOUT).threads)


def _keys() -> dict[str, str]:
    """Secret keys, made once and stored in Airflow's folder, readable by its owner only."""
    path = HOME / "keys.json"
    if not path.exists():
        _write_private(path, json.dumps({name: secrets.token_urlsafe(32) for name in ("api", "jwt")}))
    return dict(json.loads(path.read_text()))


def _write_private(path: Path, text: str) -> None:
    """Write a file atomically that only its owner can read from its first moment on; one that exists stays."""
    HOME.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # two processes may start together
            os.link(name, path)
    finally:
        Path(name).unlink()
