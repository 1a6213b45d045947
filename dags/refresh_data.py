"""Ask every source whether its pictures changed; a change retrains."""

import os

from airflow.sdk import DAG, CronTriggerTimetable

from dags._render import DEFAULTS, SOURCES, worker_task

with DAG(
    "refresh_data",
    description=__doc__,
    schedule=CronTriggerTimetable(os.environ.get("RATEWRIGHT_REFRESH_CRON") or "0 1 * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["ratewright"],
    doc_md="""ETags, sizes and times are asked for, nothing is downloaded. The task is skipped, and the asset stays as
it is, where every source is at the revision that params.yaml has from the last run.""",
) as dag:
    worker_task("sources", "sources", outlets=[SOURCES])
