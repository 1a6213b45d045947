"""Trainings on a Ray cluster of two nodes with a core each, with a token and with states and shards in S3."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest
from ruamel.yaml import YAML

from components.codecs.checkpoint import read_facts
from tests.services.ray_cluster import STEPS, STORAGE, Cluster, node
from tests.services.running_airflow import free_port

Clone = tuple[Path, dict[str, str]]
REFUSED, SILENT = "[Errno 111] Connection refused", "the port is open but does not speak gRPC"


@pytest.fixture(scope="module")
def cluster(s3_server: str, tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("ray")
    apart = ("AWS_", "RAY_", "RATEWRIGHT_", "PYTHON")
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(apart)},
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a token of the tests, long enough for anybody",
        "OMP_NUM_THREADS": "1",
    }
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1", **keys(environment))
    client.create_bucket(Bucket="store")
    client.close()
    short = tempfile.mkdtemp(prefix="rw", dir="/tmp")  # for sockets, whose paths have at most 107 bytes
    head, door = free_port(), free_port()
    first = ["--head", f"--port={head}", f"--ray-client-server-port={door}", "--include-dashboard=false"]
    first += ["--node-ip-address=127.0.0.1", f"--temp-dir={short}"]
    second = [f"--address=127.0.0.1:{head}", "--node-ip-address=127.0.0.2"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, short, ignore_errors=True)
        nodes = [
            stack.enter_context(node(arguments, environment, folder / f"{number}.log"))
            for number, arguments in enumerate((first, second))
        ]
        clients = stack.enter_context(ExitStack())
        yield Cluster(f"ray://127.0.0.1:{door}", environment, nodes, tiny_shards, clients)


def keys(environment: dict[str, str]) -> dict[str, str]:
    return {name: environment[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}


def test_a_training_outlives_a_worker_its_client_and_a_stop(cluster: Cluster) -> None:
    """Its weights and history are in the end bit for bit those of an undisturbed training."""
    undisturbed = cluster.client("undisturbed").end()
    assert undisturbed["step"] == STEPS
    assert [row["step"] for row in undisturbed["history"]] == list(range(20, STEPS + 1, 20))

    first = cluster.client("disturbed")
    first.remark("begins at step 0 with 2 workers")
    first.row(100)
    second = cluster.client("disturbed")  # which takes as long to start as hundreds of steps
    workers = cluster.processes("RayTrainWorker")
    assert len(workers) == 2
    workers[-1].kill()
    first.remark("lost a worker")
    first.process.kill()

    second.remark("attached to the running training")
    begun = second.remark("begins at step")
    assert len(cluster.processes("ray::Supervisor")) == 1
    second.remark("lost a worker")
    again = int(second.remark("begins at step").split()[-4])
    assert begun.endswith("begins at step 0 with 2 workers"), "the new client receives the earlier messages too"
    assert again > 0, "the training resumed and did not start anew"
    second.row(again)
    second.process.send_signal(signal.SIGINT)
    end = second.end()
    assert end["kind"] == "Interrupted"
    stopped = int(end["error"].split()[3].rstrip(";"))
    assert end["error"] == f"stopped at step {stopped}; run the same command to go on from there"

    third = cluster.client("disturbed")
    third.remark(f"begins at step {stopped} with 2 workers")
    last = third.end()
    assert last["history"] == undisturbed["history"]
    assert last["weights"] == undisturbed["weights"]
    assert cluster.processes("ray::Supervisor") == []


def test_an_error_of_the_training_itself_arrives_and_is_not_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    client = cluster.client("nan", storage=str(tmp_path / "a folder"), lmbda=float("nan"))
    end = client.end()
    assert end["error"] == (
        "training diverged: the loss is nan at step 9, after 8 halvings of the learning rate; lower learning_rate"
    )
    assert not any("lost a worker" in line.get("remark", "") for line in client.lines)


def test_more_than_the_cluster_has(cluster: Cluster) -> None:
    started = time.monotonic()
    many = cluster.client("many", wait_s=2.0, resources={"workers": 4})
    gpus = cluster.client("gpus", wait_s=2.0, resources={"gpus": 1})
    errors = [client.end()["error"] for client in (many, gpus)]
    assert time.monotonic() - started < 120, "each takes at most a minute"
    asked = ("4 workers with 1 CPUs, 0 GPUs each", "2 workers with 1 CPUs, 1 GPUs each")
    for name, demand, line in zip(("many", "gpus"), asked, errors, strict=True):
        assert line.startswith(f"train {name} asks for {demand}; the cluster has 2 nodes with 2 CPUs, 0 GPUs and ")
        assert "\n" not in line


def test_addresses_without_a_cluster_and_a_wrong_token(cluster: Cluster) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = free_port(), silent.getsockname()[1]
        addresses = [f"{scheme}127.0.0.1:{port}" for port in ports for scheme in ("ray://", "")]
        clients = [cluster.client("lost", address=address) for address in addresses]
        errors = [client.end()["error"] for client in clients]
    for line, address, why in zip(errors, addresses, 2 * [REFUSED] + 2 * [SILENT], strict=True):
        assert line == f"no Ray cluster answers at {address}: {why}"
    other = cluster.client("lost", environment={"RAY_AUTH_TOKEN": "another token, which the cluster does not know"})
    line = other.end()["error"]
    refused = f"the Ray cluster at {cluster.address} refuses the connection"
    assert line.startswith(f"{refused} (RAY_AUTH_MODE, RAY_AUTH_TOKEN?)")
    assert "\n" not in line
    assert time.monotonic() - started < 120, "each takes at most a minute"


def test_a_bucket_that_is_missing(cluster: Cluster) -> None:
    end = cluster.client("no bucket", storage="s3://no-such-bucket/prefix").end()
    assert end["error"] == "s3://no-such-bucket: no such bucket"


def test_the_stage(cluster: Cluster, new_clone: Callable[[], Clone]) -> None:
    folder, environment = new_clone()
    environment |= cluster.environment | {"PYTHONPATH": str(folder)}

    def run(command: str, launcher: str) -> str:
        yaml = YAML()
        params = yaml.load(folder / "params.yaml")
        params["launcher"] = launcher
        params["ray"] = {"address": cluster.address, "storage": STORAGE}
        params["resources"] = {"default": {"workers": 2}}
        yaml.dump(params, folder / "params.yaml")
        module, *arguments = command.split()
        done = subprocess.run(
            [sys.executable, "-m", f"pipeline.stages.{module}", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def write_shards(launcher: str) -> dict[str, bytes]:
        shards = folder / "data" / "shards" / "bundled-train"
        shutil.rmtree(shards, ignore_errors=True)
        run("shard bundled-train", launcher)
        return {path.name: path.read_bytes() for path in shards.iterdir()}

    run("fetch bundled-train", "ray")
    run("fetch bundled-calibration", "ray")
    assert write_shards("local") == write_shards("ray"), "the shards have the same bytes"
    assert "train wcae: begins at step 0 with 2 workers" in run("train wcae", "ray")
    facts = read_facts(folder / "models" / "wcae" / "trained.safetensors")
    assert (facts["variant"], facts["step"]) == ("wcae", 12)
    rows = [json.loads(line) for line in (folder / "models" / "wcae" / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [6, 12]
    assert all(row["calibration_bpp"] > 0 for row in rows), (
        "lambda was controlled on the cluster, with the pictures of the job"
    )
