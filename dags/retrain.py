"""A DAG that retrains codecs for each profile, and `retrain` for the committed params.yaml.

A run trains every codec of its profile, compares the best with the champion, promotes it if it is better, and commits
what it made. Each DAG has the tasks of its own stages alone.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param
from airflow.sdk.bases.timetable import BaseTimetable

from dags._render import DEFAULTS, SOURCES, commit_task, prepare_task, stage_tasks, workspace_task
from pipeline.schedule.stage_nodes import COMMITTED, StageNode, dag_id, load


def schedule_of(name: str) -> BaseTimetable | None:
    """The schedule of a DAG: a cron expression, and for `retrain` changed sources too.

    RATEWRIGHT_RETRAIN_CRON holds that of `retrain`, RATEWRIGHT_RETRAIN_REAL_CRON that of `retrain_real`, and so on.
    """
    cron = os.environ.get(f"RATEWRIGHT_{name.upper().replace('-', '_')}_CRON")
    if name == dag_id(COMMITTED):
        return AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(cron or "0 3 * * 1", timezone="UTC"), assets=[SOURCES]
        )
    return CronTriggerTimetable(cron, timezone="UTC") if cron else None


def params_of(profile: str, nodes: Sequence[StageNode]) -> dict[str, Param]:
    """The parameters of a run; Airflow's form hides a constant one."""
    variants = [node.instance for node in nodes if node.stage in ("train", "fine_tune")]
    fixed = {} if profile == COMMITTED else {"profile": Param(profile, const=profile)}
    return fixed | {
        "mirror": Param(
            None,
            type=["null", "string"],
            description="a folder, http(s):// or s3:// prefix in front of every data set's address",
        ),
        "variants": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "enum": variants},
            examples=variants,
            minItems=1,
            uniqueItems=True,
            description="the codecs to train; those that fine-tuned ones start from are trained too",
        ),
        "target_bpp": Param(
            None,
            type=["null", "number"],
            exclusiveMinimum=0,
            maximum=24,
            description="target rate in bits per pixel of whole bitstreams",
        ),
        "training_steps": Param(None, type=["null", "integer"], minimum=1, description="training steps of each codec"),
    }


def draw(profile: str, nodes: Sequence[StageNode]) -> DAG:
    """The DAG of a profile, or of `COMMITTED`.

    Args:
        profile: The profile's name.
        nodes: Its stage graph; each node comes after its upstream.
    """
    name = dag_id(profile)
    with DAG(
        name,
        description=f"Retrain the codecs of {profile}, promote the best if it beats the champion, commit the run.",
        schedule=schedule_of(name),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        tags=["ratewright"],
        doc_md=f"""A parameter that is left empty is taken from `{profile}`. The branch follows runs of the committed
`params.yaml`; the result of any other run is kept under its tag.""",
        params=params_of(profile, nodes),
    ) as dag:
        prepare = prepare_task(profile)
        if "RATEWRIGHT_REPOSITORY" not in os.environ:
            workspace_task() >> prepare
        tasks = stage_tasks(nodes)
        commit = commit_task()
        needed = {name for node in nodes for name in node.upstream}
        for node in nodes:
            if not node.upstream:
                prepare >> tasks[node.name]
            if node.name not in needed:
                tasks[node.name] >> commit
    return dag


DAGS = {profile: draw(profile, nodes) for profile, nodes in load(Path(__file__).with_name("stages.json")).items()}
