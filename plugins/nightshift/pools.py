"""Airflow's pools, as its command `airflow pools import` reads them. Run as a module, it prints them."""

from __future__ import annotations

import json
import os

from nightshift.settings import Settings
from pipelines.core.config import Config


def pools(config: Config) -> str:
    """One training at a time, and as many steps that run the model as `evaluations_at_once` says."""
    at_once = config.evaluations_at_once or os.cpu_count() or 1
    slots = {
        "gpu": {"slots": 1, "description": "training"},
        "model": {"slots": at_once, "description": "steps that run the model"},
    }
    return json.dumps(slots)


if __name__ == "__main__":
    print(pools(Settings.from_environment().config))
