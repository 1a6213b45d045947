"""Stage nodes and worker tasks as Airflow operators."""

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, TaskGroup

from pipeline.schedule.stage_nodes import StageNode

ACCELERATOR = "accelerator"
"""The pool, and the Celery queue, of stages that want a GPU to themselves."""
SOURCES = Asset("ratewright_sources")
"""Changes when a data set does at its source."""
WORKSPACE = Path(os.environ.get("RATEWRIGHT_WORKSPACE") or Path(__file__).resolve().parents[1])
"""Where tasks start: the checkout that they share, or, for workers that share nothing, any folder."""

_ACCELERATOR_POD = os.environ.get("RATEWRIGHT_ACCELERATOR_POD_TEMPLATE")
"""Under the KubernetesExecutor: the pod of stages that want a GPU."""

_PLAN = {"RATEWRIGHT_PLAN": "{{ ti.xcom_pull(task_ids='prepare') }}"}


def alert(context: Mapping[str, Any]) -> None:
    """Say in the log that a task failed for good, and tell RATEWRIGHT_ALERT_WEBHOOK, if that is set, as JSON."""
    task = context["ti"]
    facts = {
        "dag": task.dag_id,
        "run": context["run_id"],
        "task": task.task_id,
        "tries": task.try_number,
        "error": str(context.get("exception") or "unknown"),
    }
    logging.getLogger(__name__).error("%(dag)s %(run)s: %(task)s failed after %(tries)s tries: %(error)s", facts)
    if url := os.environ.get("RATEWRIGHT_ALERT_WEBHOOK"):
        import httpx

        try:
            httpx.post(url, json=facts, timeout=10).raise_for_status()
        except httpx.HTTPError as error:
            logging.getLogger(__name__).error("the alert did not reach %s: %s", url, error)


DEFAULTS: dict[str, Any] = {
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=12),
    "on_failure_callback": alert,
}
"""Of every task of every DAG."""


def worker_task(task_id: str, *arguments: str, facts: Mapping[str, str] | None = None, **more: Any) -> BashOperator:
    """A task that runs `python -m pipeline.schedule.tasks` in the workspace; `facts` are its environment."""
    return BashOperator(
        task_id=task_id,
        bash_command=f"{sys.executable} -m pipeline.schedule.tasks {' '.join(arguments)}",
        env=dict(facts or {}),
        append_env=True,
        cwd=str(WORKSPACE),
        **more,
    )


def stage_tasks(nodes: Iterable[StageNode]) -> dict[str, BashOperator]:
    """A task per node, linked as they are, the instances of a stage in a task group.

    A task whose stage is not part of the run skips itself, and those after it go on.
    """
    groups: dict[str, TaskGroup] = {}
    tasks: dict[str, BashOperator] = {}
    for node in nodes:
        where: dict[str, Any] = {}
        if node.instance is not None:
            if node.stage not in groups:
                groups[node.stage] = TaskGroup(node.stage)
            where["task_group"] = groups[node.stage]
        if node.meta.get("accelerator"):
            where |= {"pool": ACCELERATOR, "queue": ACCELERATOR, "execution_timeout": timedelta(days=14)}
            if _ACCELERATOR_POD:
                where["executor_config"] = {"pod_template_file": _ACCELERATOR_POD}
        tasks[node.name] = worker_task(
            node.instance or node.stage, "stage", node.name, facts=_PLAN, trigger_rule="none_failed", **where
        )
        for name in node.upstream:
            tasks[name] >> tasks[node.name]
    return tasks


def commit_task() -> BashOperator:
    """The task that commits, tags and pushes what the stages made."""
    return worker_task("commit", "commit", facts=_PLAN, trigger_rule="none_failed")
