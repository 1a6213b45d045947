"""Airflow DAGs: operators, schedules and pools. No torch, DVC or MLflow is imported here."""
