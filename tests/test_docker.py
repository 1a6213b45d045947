"""The files of docker/: pods as Kubernetes' models read them, Ray's options, who knows which secret."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from cryptography.fernet import Fernet
from kubernetes import client
from ruamel.yaml import YAML

from components.serving.limits import Limits
from pipeline.cli import app

API = client.ApiClient(client.Configuration())
DOCKER = Path(__file__).resolve().parents[1] / "docker"


def documents(name: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all((DOCKER / name).read_text()))


def understood(document: dict[str, Any], model: str) -> Any:
    """`document` as Kubernetes' model. The model drops unknown keys: there are none."""
    read = API.deserialize(SimpleNamespace(data=json.dumps(document)), model)
    assert API.sanitize_for_serialization(read) == document
    return read


RAY, POLICY = documents("kubernetes/raycluster.yaml")
HEAD = RAY["spec"]["headGroupSpec"]
GROUPS = {"head": HEAD, **{group["groupName"]: group for group in RAY["spec"]["workerGroupSpecs"]}}
TASKS = ("pod-template", "accelerator-pod-template")
PODS = {name: understood(documents(f"kubernetes/{name}.yaml")[0], "V1Pod").spec for name in TASKS}
PODS |= {name: understood(group["template"], "V1PodTemplateSpec").spec for name, group in GROUPS.items()}
COMPOSE = documents("compose.ray.yaml")[0]["services"]
SERVICES = documents("compose.yaml")[0]["services"]
SERVE = documents("compose.serve.yaml")[0]["services"]["serve"]
DEPLOYMENT, SERVICE = documents("kubernetes/serve.yaml")
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


def test_all_pods_run_one_image_and_none_is_privileged() -> None:
    [values], [image] = documents("kubernetes/values.yaml"), {pod.containers[0].image for pod in PODS.values()}
    assert image == f"{values['defaultAirflowRepository']}:{values['defaultAirflowTag']}"
    assert all(pod.security_context.run_as_non_root for pod in PODS.values())
    assert not any(pod.containers[0].security_context.allow_privilege_escalation for pod in PODS.values())


def test_trainings_land_on_nodes_of_the_shape_that_their_pods_had() -> None:
    for group, template in {"gpu": "accelerator-pod-template", "cpu": "pod-template"}.items():
        assert PODS[group].containers[0].resources == PODS[template].containers[0].resources
        assert PODS[group].tolerations == PODS[template].tolerations
    assert HEAD["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}


def test_every_client_and_node_has_the_token() -> None:
    assert RAY["spec"]["authOptions"] == {"mode": "token", "secretName": "ratewright-ray"}
    for name in TASKS:
        [secret] = [each.value_from.secret_key_ref for each in PODS[name].containers[0].env if each.value_from]
        assert (secret.name, secret.key, secret.optional) == ("ratewright-ray", "auth_token", True)
    expected = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "${RAY_AUTH_TOKEN:?}"}
    assert all(service["environment"].items() >= expected.items() for service in COMPOSE.values())


def test_addresses_name_the_port_that_the_head_serves_and_the_policy_opens() -> None:
    [port] = [each.container_port for each in PODS["head"].containers[0].ports if each.name == "client"]
    address = f"RAY_ADDRESS=ray://{RAY['metadata']['name']}-head-svc:{port} "
    assert address in (DOCKER / "kubernetes/raycluster.yaml").read_text()
    [rule] = [each for each in understood(POLICY, "V1NetworkPolicy").spec.ingress if each.ports]
    assert [each.port for each in rule.ports] == [port]
    [task] = documents("kubernetes/pod-template.yaml")
    assert [peer.pod_selector.match_labels for peer in rule._from] == [task["metadata"]["labels"]]
    assert COMPOSE["airflow-scheduler"]["environment"]["RAY_ADDRESS"] == f"ray://ray-head:{port}"
    assert f"--ray-client-server-port={port}" in COMPOSE["ray-head"]["command"]


def test_the_locked_ray_knows_the_options_that_nodes_start_with() -> None:
    assert RAY["spec"]["rayVersion"] == version("ray")
    run = [sys.executable, "-m", "ray.scripts.scripts", "start", "--help"]
    known = set(re.findall(r"--[a-z-]+", subprocess.run(run, capture_output=True, text=True, check=True).stdout))
    given = {option.partition("=")[0] for node in ("ray-head", "ray-worker") for option in COMPOSE[node]["command"][2:]}
    assert given | {f"--{key}" for key in HEAD["rayStartParams"]} <= known


def test_the_chart_runs_the_locked_airflow() -> None:
    [values] = documents("kubernetes/values.yaml")
    lock = (DOCKER.parent / "requirements.lock").read_text()
    assert f"\napache-airflow=={values['airflowVersion']} " in lock


def test_each_service_knows_the_secrets_that_it_needs() -> None:
    secret = re.compile(r"\$\{(\w+_(?:PASSWORD|KEY|SECRET|TOKEN)):\?\}")
    services = {**SERVICES, "serve": SERVE}
    known = {name: set(secret.findall(json.dumps(service))) for name, service in services.items()}
    airflow = {"AIRFLOW_DATABASE_PASSWORD", "AIRFLOW_FERNET_KEY", "AIRFLOW_API_SECRET_KEY", "AIRFLOW_JWT_SECRET"}
    assert known == {
        "postgres": {"POSTGRES_PASSWORD", "AIRFLOW_DATABASE_PASSWORD", "MLFLOW_DATABASE_PASSWORD"},
        "s3": {"S3_ROOT_PASSWORD"},
        "buckets": {"S3_ROOT_PASSWORD", "S3_STAGES_PASSWORD", "S3_MLFLOW_PASSWORD"},
        "mlflow": {"MLFLOW_DATABASE_PASSWORD", "MLFLOW_SECRET_KEY", "MLFLOW_ADMIN_PASSWORD", "S3_MLFLOW_PASSWORD"},
        "mlflow-accounts": {"MLFLOW_ADMIN_PASSWORD", "MLFLOW_STAGES_PASSWORD", "MLFLOW_READER_PASSWORD"},
        "serve": {"MLFLOW_READER_PASSWORD"},
        "airflow-scheduler": airflow | {"S3_STAGES_PASSWORD", "MLFLOW_STAGES_PASSWORD"},
        **{f"airflow-{name}": airflow for name in ("migration", "api-server", "dag-processor", "triggerer")},
    }


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root may change accounts")
def test_the_scheduler_may_change_accounts_and_end_tasks_and_do_nothing_else() -> None:
    scheduler = SERVICES["airflow-scheduler"]
    assert (scheduler["cap_drop"], scheduler["cap_add"]) == (["ALL"], ["SETUID", "SETGID", "KILL"])
    become = scheduler["command"][: scheduler["command"].index("airflow")]
    status = subprocess.run([*become, "cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (set(facts["Uid"].split()), facts["Groups"].split()) == ({"50000"}, [])
    assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == 1 << 5 | 1 << 6 | 1 << 7  # KILL, SETGID, SETUID
    another = ["setpriv", "--reuid=50001", "--regid=50001", "--clear-groups", "id", "-u"]
    assert subprocess.run([*become, *another], capture_output=True, text=True, check=True).stdout == "50001\n"


def test_images_are_built_from_files_that_docker_is_given() -> None:
    ignored = (DOCKER.parent / ".dockerignore").read_text().splitlines()
    copied = {
        source for line in re.findall(r"^COPY (.*)", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1] if source
    }
    assert {f"!{source}" for source in copied} <= set(ignored)
    assert copied >= {"pyproject.toml", "setup.py", "components", "pipeline"}
    assert all((DOCKER.parent / source).exists() for source in copied)


def served() -> dict[str, list[str]]:
    """The arguments of `ratewright serve` in the image, with compose and in a pod."""
    [image] = re.findall(r"^CMD (\[.*pipeline.cli.*\])$", DOCKERFILE, re.MULTILINE)
    [container] = DEPLOYMENT["spec"]["template"]["spec"]["containers"]
    return {"image": json.loads(image), "compose": SERVE["command"], "pod": container["args"]}


@pytest.mark.parametrize("where", ["image", "compose", "pod"])
def test_the_service_starts_with_options_that_it_knows(where: str) -> None:
    program, *arguments = served()[where]
    assert (program, arguments[:3]) == ("python", ["-m", "pipeline.cli", "serve"])
    command = typer.main.get_command(app)
    context = command.get_command(None, "serve").make_context("serve", arguments[3:])  # type: ignore[attr-defined]
    limits = Limits(**{each.name: context.params[each.name] for each in fields(Limits)})
    assert (context.params["host"], context.params["port"]) == ("0.0.0.0", 8000)
    assert context.params["codec"].startswith("models:/")
    if where != "image":
        bodies = (limits.workers + limits.queue) * limits.megabytes
        assert limits.workers * (limits.memory + 500) + bodies + 1000 < 8000, "megabytes that the limit has"


def test_the_service_is_confined_and_has_time_to_finish() -> None:
    deployment = understood(DEPLOYMENT, "V1Deployment").spec
    pod = deployment.template.spec
    [container] = pod.containers
    grace = Limits(**{name: int(value) for name, value in [served()["pod"][-1].strip("-").split("=")]}).grace
    assert deployment.selector.match_labels == deployment.template.metadata.labels
    assert (pod.security_context.run_as_non_root, pod.automount_service_account_token) == (True, False)
    assert container.security_context.read_only_root_filesystem
    assert not container.security_context.allow_privilege_escalation
    assert container.resources.limits.keys() == {"cpu", "memory"}
    assert [mount.mount_path for mount in container.volume_mounts] == ["/tmp"]
    assert {probe.http_get.path for probe in (container.startup_probe, container.readiness_probe)} == {"/health"}
    pause = int(container.lifecycle.pre_stop._exec.command[1])
    assert pod.termination_grace_period_seconds > grace + pause
    service = understood(SERVICE, "V1Service").spec
    assert service.selector == deployment.selector.match_labels
    assert service.ports[0].target_port == container.ports[0].name
    assert (SERVE["read_only"], SERVE["cap_drop"], SERVE["cpus"], SERVE["mem_limit"]) == (True, ["ALL"], 2, "8g")
    assert int(SERVE["stop_grace_period"].removesuffix("s")) > grace


def test_new_env_gives_each_secret_a_value_and_keeps_a_file_that_exists(tmp_path: Path) -> None:
    for name in ("new_env.sh", ".env.example"):
        shutil.copy(DOCKER / name, tmp_path)
    run = ["sh", str(tmp_path / "new_env.sh")]
    subprocess.run(run, check=True)
    written = tmp_path / ".env"
    before = written.read_text()
    assert written.stat().st_mode & 0o777 == 0o600
    added = {}
    for empty, line in zip((tmp_path / ".env.example").read_text().splitlines(), before.splitlines(), strict=True):
        assert line.startswith(empty)
        if line != empty:
            added[empty.rstrip("=")] = line.removeprefix(empty)
    wanted = set(re.findall(r"\$\{(\w+):\?\}", json.dumps([SERVICES, COMPOSE, SERVE])))
    assert added.keys() == wanted - {"RATEWRIGHT_REPOSITORY"}
    assert len(set(added.values())) == len(added)
    Fernet(added["AIRFLOW_FERNET_KEY"])
    assert subprocess.run(run, capture_output=True, check=False).returncode != 0
    assert written.read_text() == before
