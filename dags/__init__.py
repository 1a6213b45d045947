"""Airflow DAGs: operators, schedules, pools, and nothing else."""
