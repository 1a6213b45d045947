"""Retrain every codec, compare the best with the champion, promote it if it is better, commit the run."""

import os
from pathlib import Path

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param

from dags._render import DEFAULTS, SOURCES, commit_task, prepare_task, stage_tasks
from pipeline.schedule.stage_nodes import load, union

GRAPHS = load(Path(__file__).with_name("stages.json"))
NODES = union(GRAPHS)
VARIANTS = [node.instance for node in NODES if node.stage in ("train", "fine_tune")]
PROFILES = [name for name in GRAPHS if not name.endswith(".yaml")]

with DAG(
    "retrain",
    description=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(os.environ.get("RATEWRIGHT_RETRAIN_CRON") or "0 3 * * 1", timezone="UTC"),
        assets=[SOURCES],
    ),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["ratewright"],
    doc_md="""A parameter that is left empty is taken from `params.yaml`. The branch follows runs that use the committed
parameters; the result of any other run is kept under its tag.""",
    params={
        "profile": Param(
            None,
            type=["null", "string"],
            enum=[None, *PROFILES],
            description="a file of profiles/ in place of params.yaml",
        ),
        "mirror": Param(
            None,
            type=["null", "string"],
            description="a folder, http(s):// or s3:// prefix in front of every data set's address",
        ),
        "variants": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "enum": VARIANTS},
            examples=VARIANTS,
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
    },
) as dag:
    prepare = prepare_task()
    tasks = stage_tasks(NODES)
    commit = commit_task()
    needed = {name for node in NODES for name in node.upstream}
    for node in NODES:
        if not node.upstream:
            prepare >> tasks[node.name]
        if node.name not in needed:
            tasks[node.name] >> commit
