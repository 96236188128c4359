"""Commands as Airflow tasks."""
