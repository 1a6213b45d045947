"""Stage nodes and worker tasks as Airflow operators."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, BaseSensorOperator, Context, TaskGroup
from filelock import FileLock

from components.storage.atomic import read_json, write_json
from dags._task_operator import TaskOperator, open_to_command
from pipeline.schedule.stage_nodes import COMMITTED, LONGEST_HOURS, RETRIES, StageNode

ACCELERATOR = "accelerator"
"""The pool and the Celery queue of stages that need a GPU of their own."""
SOURCES = Asset("ratewright_sources")
"""The asset that changes when a data set changes at its source."""
WORKSPACE = Path(os.environ.get("RATEWRIGHT_WORKSPACE") or Path(__file__).resolve().parents[1])
"""The folder that tasks start in: the checkout that they share, or any folder for workers that share none."""

_ACCELERATOR_POD = os.environ.get("RATEWRIGHT_ACCELERATOR_POD_TEMPLATE")
"""The pod template of stages that need a GPU, under the KubernetesExecutor."""

_PLAN = {"RATEWRIGHT_PLAN": "{{ ti.xcom_pull(task_ids='prepare') }}"}


def alert(context: Mapping[str, Any]) -> None:
    """Log that a task failed for good, and post the facts as JSON to RATEWRIGHT_ALERT_WEBHOOK, if that is set."""
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
    "retries": RETRIES,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=LONGEST_HOURS),
    "on_failure_callback": alert,
}
"""Arguments of every task of every DAG; a stage may have others."""


def worker_task(
    task_id: str,
    *arguments: str,
    facts: Mapping[str, str] | None = None,
    operator: type[TaskOperator] = TaskOperator,
    **more: Any,
) -> TaskOperator:
    """A task that runs `python -m pipeline.schedule.tasks` in the workspace.

    Args:
        task_id: The task's name in Airflow.
        arguments: The arguments of the command line.
        facts: Environment variables for it, added to the worker's; Airflow fills in templates.
        operator: Its operator.
        more: Further arguments of the operator.
    """
    return operator(
        task_id=task_id,
        bash_command=f"{sys.executable} -m pipeline.schedule.tasks {' '.join(arguments)}",
        env=dict(facts or {}),
        append_env=True,
        cwd=str(WORKSPACE),
        **more,
    )


class WorkspaceSensor(BaseSensorOperator):  # type: ignore[misc]
    """Waits until no other run uses the shared workspace, and takes it for its own run.

    The workspace has one params.yaml, and DAGs of several profiles run in it. A run that has ended holds it no longer.
    """

    def poke(self, context: Context) -> bool:
        """Whether the workspace belongs to this run now."""
        task = context["ti"]
        own = {"dag_id": task.dag_id, "run_ids": [task.run_id]}
        path = WORKSPACE / "work" / "run.json"
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            holder = read_json(path) if path.exists() else own
            if holder != own and task.get_dr_count(**holder, states=["running"]):
                self.log.info("the workspace is in use by %s %s", holder["dag_id"], *holder["run_ids"])
                return False
            write_json(path, own)
        return True


def workspace_task() -> BaseSensorOperator:
    """The task that waits for the shared workspace, and leaves its slot to others meanwhile."""
    return WorkspaceSensor(task_id="workspace", mode="reschedule", poke_interval=30, timeout=timedelta(days=14))


class PrepareOperator(TaskOperator):
    """A worker task whose XCom is the plan that it writes to the file RATEWRIGHT_PLAN_FILE, not its last line."""

    env: dict[str, str] | None

    def execute(self, context: Context) -> str:
        """Run the command; returns the plan."""
        with tempfile.TemporaryDirectory(prefix="ratewright-") as folder:
            plan = Path(folder) / "plan.json"
            open_to_command(plan)
            self.env = {**(self.env or {}), "RATEWRIGHT_PLAN_FILE": str(plan)}
            super().execute(context)
            return plan.read_text()


def prepare_task(profile: str) -> TaskOperator:
    """The task that fixes the commit that the run uses, and hands the run's plan to the tasks after it.

    Run ids of two DAGs may be equal, such as those of one schedule, so the profile is part of the run's name.
    """
    run_id = "{{ run_id }}" if profile == COMMITTED else f"{profile}__{{{{ run_id }}}}"
    facts = {"RATEWRIGHT_RUN_ID": run_id, "RATEWRIGHT_REQUEST": "{{ params | tojson }}"}
    return worker_task("prepare", "prepare", facts=facts, operator=PrepareOperator)


def stage_tasks(nodes: Iterable[StageNode]) -> dict[str, TaskOperator]:
    """Tasks by the name of their stage instance, linked like the stages; a stage's instances form a task group.

    A task whose stage is not part of the run is skipped, and the tasks after it still run.

    Args:
        nodes: The stage graph; each node comes after its upstream.
    """
    groups: dict[str, TaskGroup] = {}
    tasks: dict[str, TaskOperator] = {}
    for node in nodes:
        where: dict[str, Any] = {
            "retries": node.retries,
            "execution_timeout": timedelta(hours=node.longest_hours),
        }
        if node.instance is not None:
            if node.stage not in groups:
                groups[node.stage] = TaskGroup(node.stage)
            where["task_group"] = groups[node.stage]
        if node.accelerator:
            where |= {"pool": ACCELERATOR, "queue": ACCELERATOR}
            if _ACCELERATOR_POD:
                where["executor_config"] = {"pod_template_file": _ACCELERATOR_POD}
        tasks[node.name] = worker_task(
            node.instance or node.stage, "stage", node.name, facts=_PLAN, trigger_rule="none_failed", **where
        )
        for name in node.upstream:
            tasks[name] >> tasks[node.name]
    return tasks


def commit_task() -> TaskOperator:
    """The task that commits, tags and pushes what the stages made."""
    return worker_task("commit", "commit", facts=_PLAN, trigger_rule="none_failed")
