"""The accounts of docker/: what each may do in PostgreSQL, in the S3 store and in MLflow, and what it may not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg2
import pytest
from botocore.exceptions import ClientError

from pipeline.paths import CHECKOUT
from tests.conftest import environment_of
from tests.services.native_services import POSTGRES, REGION, SECRETS, Store, mlflow_server, postgres, s3_store

needs_postgres = pytest.mark.skipif(POSTGRES is None, reason="PostgreSQL is not installed (apt install postgresql)")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accounts")


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    # PostgreSQL's user may not enter pytest's folders: its data lies directly in /tmp.
    with postgres(Path(f"/tmp/ratewright-accounts-{os.getpid()}")) as port:
        yield port


@pytest.fixture(scope="module")
def store(home: Path) -> Iterator[Store]:
    with s3_store(home, environment_of(CHECKOUT)) as found:
        yield found


@pytest.fixture(scope="module")
def stages(home: Path, database: int, store: Store) -> Iterator[dict[str, str]]:
    """The settings with which clients are MLflow's account `stages`."""
    with mlflow_server(home, environment_of(CHECKOUT), database, store) as settings:
        yield settings


@needs_postgres
def test_each_service_enters_its_own_database_alone(database: int) -> None:
    def enter(account: str, password: str, name: str) -> str:
        login = {"user": account, "password": password, "dbname": name}
        with closing(psycopg2.connect(host="127.0.0.1", port=database, **login)) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "CREATE TABLE mine (n int); SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user"
            )
            (superuser,) = cursor.fetchone() or (None,)
        return str(superuser)

    own = {"airflow": {"airflow"}, "mlflow": {"mlflow", "mlflow_users"}}
    for account, databases in own.items():
        password = SECRETS[f"{account.upper()}_DATABASE_PASSWORD"]
        for name in databases:
            assert enter(account, password, name) == "false"
        for other in {"airflow", "mlflow", "mlflow_users", "postgres"} - databases:
            with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
                enter(account, password, other)
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            enter(account, "another", account)


def s3_client(store: Store, account: str) -> Any:
    keys = {name.lower(): value for name, value in store.accounts[account].items()}
    return boto3.client("s3", endpoint_url=store.url, region_name=REGION, **keys)


@pytest.mark.parametrize(
    ("account", "own", "other"), [("stages", "ratewright", "mlflow"), ("mlflow", "mlflow", "ratewright")]
)
def test_each_account_uses_its_own_bucket_alone(store: Store, account: str, own: str, other: str) -> None:
    with closing(s3_client(store, account)) as s3:
        s3.put_object(Bucket=own, Key="folder/name", Body=b"bytes")
        assert s3.get_object(Bucket=own, Key="folder/name")["Body"].read() == b"bytes"
        assert [each["Key"] for each in s3.list_objects_v2(Bucket=own)["Contents"]] == ["folder/name"]
        s3.copy_object(Bucket=own, Key="folder/copy", CopySource=f"{own}/folder/name")
        upload = s3.create_multipart_upload(Bucket=own, Key="large")["UploadId"]
        part = s3.upload_part(Bucket=own, Key="large", UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        s3.complete_multipart_upload(Bucket=own, Key="large", UploadId=upload, MultipartUpload=parts)
        s3.delete_objects(Bucket=own, Delete={"Objects": [{"Key": "folder/name"}, {"Key": "large"}]})
        s3.delete_object(Bucket=own, Key="folder/copy")
        refused: dict[str, Callable[[], Any]] = {
            "another bucket's files": lambda: s3.list_objects_v2(Bucket=other),
            "a file there": lambda: s3.get_object(Bucket=other, Key="folder/name"),
            "a write there": lambda: s3.put_object(Bucket=other, Key="folder/name", Body=b""),
            "a bucket": lambda: s3.create_bucket(Bucket="more"),
            "the end of its own": lambda: s3.delete_bucket(Bucket=own),
            "rules for its own": lambda: s3.put_bucket_policy(Bucket=own, Policy="{}"),
        }
        for what, action in refused.items():
            with pytest.raises(ClientError) as caught:
                action()
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, what


def test_a_wrong_key_of_the_store_is_refused(store: Store) -> None:
    keys = {"aws_access_key_id": store.accounts["stages"]["AWS_ACCESS_KEY_ID"], "aws_secret_access_key": "another"}
    s3 = boto3.client("s3", endpoint_url=store.url, region_name=REGION, **keys)
    with closing(s3), pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3.list_objects_v2(Bucket="ratewright")


CLIENT = """
import json, os, sys, tempfile
from pathlib import Path
import mlflow
from mlflow.exceptions import MlflowException
client = mlflow.MlflowClient()
def tried(action):
    try:
        return eval(action)
    except MlflowException as error:
        return f"refused {error.get_http_status_code()}"
def write():
    experiment = client.get_experiment_by_name("ratewright")
    experiment = experiment.experiment_id if experiment else client.create_experiment("ratewright")
    run = client.create_run(experiment).info.run_id
    client.log_metric(run, "bpp", 0.15)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.txt").write_text("an artifact")
        client.log_artifact(run, str(Path(folder) / "a.txt"))
    return run
def register():
    name = "image-codec-0.15bpp"
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, f"runs:/{sys.argv[1]}/a.txt", run_id=sys.argv[1]).version
    client.set_registered_model_alias(name, "champion", version)
    client.set_model_version_tag(name, version, "tag", "value")
    client.delete_registered_model_alias(name, "champion")
    client.set_registered_model_alias(name, "champion", version)
    return version
def read():
    run = client.get_run(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        text = Path(client.download_artifacts(sys.argv[1], "a.txt", folder)).read_text()
    return [run.data.metrics["bpp"], text, client.get_model_version_by_alias("image-codec-0.15bpp", "champion").version]
def forget():
    client.delete_run(sys.argv[1])
    client.restore_run(sys.argv[1])
    return "restored"
print(json.dumps([tried(action) for action in sys.argv[2:]]))
"""


def as_client(settings: dict[str, str], run: str, *actions: str) -> Any:
    """What each of some expressions over `CLIENT` gives a process with these settings alone."""
    environment = environment_of(CHECKOUT) | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"} | settings
    command = [sys.executable, "-c", CLIENT, run, *actions]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def account(of: dict[str, str], name: str) -> dict[str, str]:
    """The settings of another account of MLflow."""
    password = SECRETS[f"MLFLOW_{name.upper()}_PASSWORD"]
    return of | {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": password}


@needs_postgres
def test_mlflow_answers_nobody_without_a_password(stages: dict[str, str]) -> None:
    url = stages["MLFLOW_TRACKING_URI"]
    paths = (
        "/",
        "/api/2.0/mlflow/experiments/search?max_results=1",
        "/api/2.0/mlflow/registered-models/search",
        "/api/2.0/mlflow-artifacts/artifacts?path=",
        "/ajax-api/2.0/mlflow/experiments/search?max_results=1",
        "/get-artifact?path=a&run_uuid=b",
        "/signup",
    )
    assert {path: httpx.get(url + path).status_code for path in paths} == dict.fromkeys(paths, 401)
    for password in ("another", "password1234"):
        login = {"auth": ("stages", password)}
        assert httpx.get(url + paths[1], **login).status_code == 401  # type: ignore[arg-type]


@needs_postgres
def test_stages_write_and_the_reader_reads(stages: dict[str, str]) -> None:
    reader, found = account(stages, "reader"), [0.15, "an artifact", "1"]
    [run] = as_client(stages, "", "write()")
    assert as_client(stages, run, "register()", "read()", "forget()") == ["1", found, "restored"]
    refused = ["refused 403"] * 3
    assert as_client(reader, run, "write()", "register()", "forget()", "read()") == [*refused, found]


@needs_postgres
def test_stages_write_what_others_made(stages: dict[str, str]) -> None:
    """An experiment of the time before passwords belongs to nobody."""
    [experiment] = as_client(account(stages, "admin"), "", "client.create_experiment('made by the administrator')")
    use = f"client.create_run({experiment!r}).info.status"
    assert as_client(stages, "", use) == ["RUNNING"]
    assert as_client(account(stages, "reader"), "", use) == ["refused 403"]


@needs_postgres
def test_stages_may_not_change_accounts(stages: dict[str, str]) -> None:
    url, login = stages["MLFLOW_TRACKING_URI"], ("stages", stages["MLFLOW_TRACKING_PASSWORD"])
    create = {"username": "mine", "password": "a long password"}
    promote = {"username": "stages", "is_admin": True}
    users = f"{url}/api/2.0/mlflow/users"
    assert httpx.post(f"{users}/create", json=create, auth=login).status_code == 403
    assert httpx.patch(f"{users}/update-admin", json=promote, auth=login).status_code == 403


@needs_postgres
def test_making_the_accounts_again_changes_their_passwords(stages: dict[str, str]) -> None:
    environment = environment_of(CHECKOUT) | account(stages, "admin")
    url = stages["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/experiments/search?max_results=1"
    before = {"MLFLOW_STAGES_PASSWORD": SECRETS["MLFLOW_STAGES_PASSWORD"]}
    before |= {"MLFLOW_READER_PASSWORD": SECRETS["MLFLOW_READER_PASSWORD"]}
    command = [sys.executable, "-m", "pipeline.registry.accounts"]
    for passwords in (before | {"MLFLOW_READER_PASSWORD": "another password"}, before):
        subprocess.run(command, cwd=CHECKOUT, env=environment | passwords, check=True, capture_output=True)
        assert httpx.get(url, auth=("reader", passwords["MLFLOW_READER_PASSWORD"])).status_code == 200
    assert httpx.get(url, auth=("reader", "another password")).status_code == 401


def test_accounts_need_their_settings() -> None:
    command = [sys.executable, "-m", "pipeline.registry.accounts"]
    environment = environment_of(CHECKOUT)
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: MLFLOW_TRACKING_URI is not set\n")
