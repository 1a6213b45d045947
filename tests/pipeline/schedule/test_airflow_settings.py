"""The environment of the Airflow on this machine."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from components.errors import RatewrightError
from pipeline.schedule import airflow_settings
from pipeline.schedule.airflow_settings import environment, password


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(airflow_settings, "HOME", tmp_path)
    return tmp_path


def test_a_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment()["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    assert environment()["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"


def test_keys_are_made_once_for_their_owner_alone(home: Path) -> None:
    first, second = environment(), environment()
    assert first["AIRFLOW__API_AUTH__JWT_SECRET"] == second["AIRFLOW__API_AUTH__JWT_SECRET"]
    assert first["AIRFLOW__API_AUTH__JWT_SECRET"] != first["AIRFLOW__API__SECRET_KEY"]
    assert (home / "keys.json").stat().st_mode & 0o777 == 0o600


def test_secrets_are_never_readable_by_others(home: Path) -> None:
    """Looked at after every line of Python that runs, with a umask that hides nothing."""
    seen: list[str] = []

    def look(frame: FrameType, *_: object) -> Any:
        if "ruamel" in frame.f_code.co_filename:  # it reads params.yaml, in very many lines
            return None
        for path in home.iterdir():
            with suppress(FileNotFoundError):
                seen.append(f"{path.name}: {path.stat().st_mode & 0o077:o}")
        return look

    before, umask = sys.gettrace(), os.umask(0)
    sys.settrace(look)
    try:
        environment()
    finally:
        sys.settrace(before)
        os.umask(umask)
    assert {text for text in seen if not text.endswith(": 0")} == set()
    assert {"keys.json: 0", "simple_auth_manager_passwords.json.generated: 0"} <= {*seen}
    with pytest.raises(RatewrightError, match="has not run here yet"):
        password()


def test_the_password_is_the_one_that_airflow_made(home: Path) -> None:
    with pytest.raises(RatewrightError, match="has not run here yet"):
        password()
    (home / "simple_auth_manager_passwords.json.generated").write_text('{"admin": "secret"}')
    assert password() == "secret"
