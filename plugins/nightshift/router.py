"""The old place of the trigger: Airflow's database names it until the DAG is parsed again."""

from nightshift.operators.alerts import InboxTrigger

__all__ = ["InboxTrigger"]
