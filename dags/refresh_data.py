"""Check every source for changed pictures; a change starts a retraining."""

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
    doc_md="""The task compares ETags, sizes and times, and downloads nothing. If every source still has the revision
that params.yaml recorded in the last run, the task is skipped and nothing is retrained. Its log says how many files of
a changed source are new, gone or replaced. The stage `validate` of the retraining says how its pictures differ.""",
) as dag:
    worker_task("sources", "sources", outlets=[SOURCES])
