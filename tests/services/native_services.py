"""The services of docker/compose.yaml, without docker but with their accounts: PostgreSQL, an S3 store, MLflow."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
from ruamel.yaml import YAML

from pipeline.paths import CHECKOUT
from tests.services.running_airflow import WAIT_S, free_port, wait_for

DOCKER = CHECKOUT / "docker"
POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
BINARIES = Path(sys.executable).parent
REGION = "us-east-1"

SECRETS = {
    line.removesuffix("="): f"{line.removesuffix('=').lower()}-of-the-tests"
    for line in (DOCKER / ".env.example").read_text().splitlines()
    if re.fullmatch(r"\w+_(PASSWORD|SECRET|KEY|TOKEN)=", line)
}
"""A value for each secret of docker/.env."""


def composed(service: str) -> dict[str, Any]:
    """A service of docker/compose.yaml with `SECRETS` in its command and environment."""
    raw = YAML(typ="safe").load((DOCKER / "compose.yaml").read_text())["services"][service]

    def filled(text: Any) -> str:
        return re.sub(r"\$\{(\w+)(?::[?-](\w*))?\}", lambda found: SECRETS.get(found[1], found[2] or ""), str(text))

    return {
        "command": [filled(part) for part in raw.get("command", [])],
        "environment": {name: filled(value) for name, value in raw.get("environment", {}).items()},
    }


@contextmanager
def service(command: list[str], environment: dict[str, str], log: Path, ready: Callable[[], bool]) -> Iterator[None]:
    """A service process; it and its children end with the context."""
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(ready, lambda: process.poll() is None, log)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(WAIT_S)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.TransportError:
        return False


@contextmanager
def postgres(folder: Path) -> Iterator[int]:
    """A PostgreSQL server with the databases and accounts of docker/; gives its port. Root may not start it."""
    assert POSTGRES is not None
    port = free_port()
    folder.mkdir()
    own: dict[str, Any] = {}
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        own = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = str(folder / "data")

    def tool(*command: str, **environment: str) -> None:
        variables = {**os.environ, **environment}
        subprocess.run(command, cwd=folder, check=True, capture_output=True, env=variables, **own)

    (folder / "password").write_text(SECRETS["POSTGRES_PASSWORD"])
    shutil.copy(DOCKER / "databases.sql", folder)
    tool(str(POSTGRES / "initdb"), "-D", data, "-U", "postgres", "--auth=scram-sha-256", "--pwfile=password")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    tool(str(POSTGRES / "pg_ctl"), "-D", data, "-w", "-l", f"{data}.log", "-o", options, "start")
    try:
        psql = [str(POSTGRES / "psql"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-v", "ON_ERROR_STOP=1"]
        passwords = composed("postgres")["environment"]
        tool(*psql, "-f", "databases.sql", **passwords, PGPASSWORD=passwords["POSTGRES_PASSWORD"])
        yield port
    finally:
        tool(str(POSTGRES / "pg_ctl"), "-D", data, "-m", "fast", "stop")
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Store:
    """A running S3 store that refuses what no policy allows."""

    url: str
    accounts: dict[str, dict[str, str]]
    """For each account, its settings of AWS's clients."""

    def settings(self, account: str) -> dict[str, str]:
        """The environment in which AWS's clients are an account here."""
        return {**self.accounts[account], "AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": REGION}


@contextmanager
def s3_store(folder: Path, environment: dict[str, str]) -> Iterator[Store]:
    """moto with the buckets, accounts and policies of docker/s3. It makes up the accounts' keys itself."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(BINARIES / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with service(command, environment, folder / "s3.log", lambda: answers(f"{url}/moto-api/")):
        root = {"aws_access_key_id": "root", "aws_secret_access_key": SECRETS["S3_ROOT_PASSWORD"]}
        iam, s3 = (boto3.client(name, endpoint_url=url, region_name=REGION, **root) for name in ("iam", "s3"))
        accounts = {}
        for bucket in re.findall(r"store/(\w+)", (DOCKER / "s3" / "accounts.sh").read_text()):
            s3.create_bucket(Bucket=bucket)
        for policy in (DOCKER / "s3").glob("*.json"):
            iam.create_user(UserName=policy.stem)
            iam.put_user_policy(UserName=policy.stem, PolicyName=policy.stem, PolicyDocument=policy.read_text())
            key = iam.create_access_key(UserName=policy.stem)["AccessKey"]
            accounts[policy.stem] = {
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            }
        iam.close()
        s3.close()
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0").raise_for_status()  # from now on policies count
        yield Store(url, accounts)


@contextmanager
def mlflow_server(folder: Path, environment: dict[str, str], database: int, store: Store) -> Iterator[dict[str, str]]:
    """MLflow as docker/ starts it, with its accounts; gives the settings with which clients are its account `stages`.

    Args:
        folder: A folder for its files.
        environment: The environment without settings of services.
        database: The port of PostgreSQL.
        store: The S3 store.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = composed("mlflow")
    users = folder / "mlflow_users.ini"
    users.write_text((DOCKER / "mlflow_users.ini").read_text().replace("@postgres/", f"@127.0.0.1:{database}/"))
    own = {
        **settings["environment"],
        **store.settings("mlflow"),
        "MLFLOW_AUTH_CONFIG_PATH": str(users),
        "MLFLOW_S3_ENDPOINT_URL": store.url,
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
    }
    replaced = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={port}"}
    command = [
        replaced.get(part, part).replace("@postgres/", f"@127.0.0.1:{database}/") for part in settings["command"]
    ]
    command = [str(BINARIES / command[0]), *command[1:], "--workers=1"]
    with service(command, environment | own, folder / "mlflow.log", lambda: answers(f"{url}/health")):
        administrator = composed("mlflow-accounts")
        make = [sys.executable, *administrator["command"][1:]]
        known = environment | administrator["environment"] | {"MLFLOW_TRACKING_URI": url}
        subprocess.run(make, cwd=CHECKOUT, env=known, check=True)
        tasks = composed("airflow-scheduler")["environment"]
        own = {name: value for name, value in tasks.items() if name.startswith("MLFLOW_")}
        yield own | {"MLFLOW_TRACKING_URI": url}
