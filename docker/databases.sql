-- The image creates Airflow's database (POSTGRES_DB); this creates MLflow's.
CREATE DATABASE mlflow OWNER ratewright;
