"""Accounts of an MLflow server that asks for passwords: `python -m pipeline.registry.accounts`.

`stages` may write experiments and models, `reader` may read them. The command can be repeated: passwords then change.

Settings, from the environment:

MLFLOW_TRACKING_URI: the server.
MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD: its administrator.
MLFLOW_STAGES_PASSWORD, MLFLOW_READER_PASSWORD: the passwords of the accounts, of twelve characters or more.
"""

import os
from typing import TYPE_CHECKING

from components.errors import RatewrightError
from pipeline.registry.client import in_one_line
from pipeline.terminal import console, guarded

if TYPE_CHECKING:
    from mlflow.server.auth.client import AuthServiceClient

STAGES, READER = "stages", "reader"

_WORKSPACE = "default"
"""MLflow's only workspace, unless it was started with more."""
_WRITTEN = ("experiment", "registered_model")
"""The kinds of resources that stages write, with what belongs to them: runs, versions, artifacts."""


def main() -> None:
    """Make the accounts, or give those that exist their passwords."""
    from mlflow.server import get_app_client

    server = _required("MLFLOW_TRACKING_URI")
    with in_one_line(f"MLflow at {server}"):
        client = get_app_client("basic-auth", server)
        for name in (STAGES, READER):
            _set_password(client, name, _required(f"MLFLOW_{name.upper()}_PASSWORD"))
        _let_write(client, STAGES)
    console.print(f"MLflow at {server} has the accounts {STAGES} and {READER}")


def _set_password(client: "AuthServiceClient", name: str, password: str) -> None:
    """Make an account, or change its password."""
    from mlflow.exceptions import RestException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

    try:
        client.create_user(name, password)
    except RestException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
            raise
        client.update_user_password(name, password)


def _let_write(client: "AuthServiceClient", name: str) -> None:
    """Give an account a role of its own name that may write whatever exists, whoever made it."""
    role = next((role for role in client.list_roles(_WORKSPACE) if role.name == name), None)
    role = role or client.create_role(_WORKSPACE, name)
    granted = {each.resource_type for each in client.list_role_permissions(role.id)}
    for kind in _WRITTEN:
        if kind not in granted:
            client.add_role_permission(role.id, kind, "*", "MANAGE")
    if role.id not in {each.id for each in client.list_user_roles(name)}:
        client.assign_role(name, role.id)


def _required(name: str) -> str:
    if not (value := os.environ.get(name)):
        raise RatewrightError(f"{name} is not set")
    return value


if __name__ == "__main__":
    guarded(main)
