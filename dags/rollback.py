"""Restore the previous champion of a registered model."""

import sys

from airflow.sdk import DAG, Param

from dags._render import DEFAULTS, WORKSPACE
from dags._task_operator import TaskOperator

with DAG(
    "rollback",
    description=__doc__,
    schedule=None,
    max_active_runs=1,
    default_args=DEFAULTS | {"retries": 0},  # a repeated rollback would go back twice
    tags=["ratewright"],
    params={
        "model": Param(
            "image-codec-0.15bpp",
            type="string",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
            description="a registered model",
        )
    },
) as dag:
    TaskOperator(
        task_id="rollback",
        bash_command=f'{sys.executable} -m pipeline.cli rollback "$MODEL"',
        env={"MODEL": "{{ params.model }}"},
        append_env=True,
        cwd=str(WORKSPACE),
    )
