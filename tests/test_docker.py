"""The files of docker/, read by Kubernetes' models of pods and compared with Ray's options."""

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kubernetes import client
from ruamel.yaml import YAML

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
