"""Where version 0.1 kept the trigger. Airflow's database may still name it until the DAG is parsed anew."""

from nightshift.operators.alerts import InboxTrigger

__all__ = ["InboxTrigger"]
