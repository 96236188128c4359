"""The page's links and times. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote


def run_url(root: str, dag_id: str, run_id: str) -> str:
    return f"{root}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def report_url(root: str, run_id: str) -> str:
    """Where the plugin serves a night's report."""
    return f"{root}/model-loop/runs/{quote(run_id, safe='')}/report/report.html"


def shown_time(text: str) -> str:
    """`2026-11-23 02:00 UTC`, from an ISO 8601 time in UTC; empty for an empty text."""
    return f"{text[:16].replace('T', ' ')} UTC" if text else ""


def ago(since: str, now: datetime) -> str:
    """How long ago, in the largest unit that fits, such as `3 hours ago`."""
    seconds = max(0.0, (now - datetime.fromisoformat(since)).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def first_sentence(note: str) -> str:
    """The first sentence of a run's note, or of its line about a fault if it has one."""
    lines = note.strip().splitlines() or [""]
    told = next((line for line in lines if ": fault: " in line), lines[0])
    return re.split(r"(?<=[.!?])\s", told, maxsplit=1)[0]


def version_url(mlflow: str, name: str, adapter: Mapping[str, Any] | None) -> str:
    """MLflow's page of a registered version; empty without one."""
    if not (adapter and mlflow):
        return ""
    return f"{mlflow}/#/models/{quote(name, safe='')}/versions/{quote(adapter['version'], safe='')}"
