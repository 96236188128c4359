"""Tells Airflow which parts to load. The folder must exist before Airflow starts."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from nightshift import listener


class NightshiftPlugin(AirflowPlugin):
    name = "nightshift"
    listeners = [listener]  # noqa: RUF012 (Airflow's own shape)
