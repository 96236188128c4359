"""What people are told of a ruling."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipelines.core.alerts import SEVERITIES, Action, Ruling
from pipelines.core.results import Notice

SUBJECTS = {Action.PAGE: "Alert", Action.SCALE: "Overload", Action.ROLLBACK: "Rollback"}  # others: no notice
SHOWN_NAMES, SHOWN_ALERTS = 3, 5


def notice_of(ruling: Ruling) -> Notice:
    """The reason, then a line for each alert, the critical ones first."""
    subject = f"{SUBJECTS[ruling.action]} ({ruling.cause}): {short_list(ruling.names)}"
    alerts = sorted(ruling.alerts, key=lambda alert: alert.severity != SEVERITIES[0])
    lines = [alert.described() for alert in alerts[:SHOWN_ALERTS]]
    if len(alerts) > SHOWN_ALERTS:
        lines.append(f"and {len(alerts) - SHOWN_ALERTS} more: `.venv/bin/python -m pipelines alerts-list`")
    return Notice(subject=subject, text="\n".join([ruling.reason, *lines]))


def short_list(names: Sequence[str]) -> str:
    """A few names in plain characters: they go into settings, folder names and mail subjects."""
    shown = ",".join(re.sub(r"[^\w.:-]", "_", name)[:60] for name in names[:SHOWN_NAMES])
    return shown + (f"+{len(names) - SHOWN_NAMES}" if len(names) > SHOWN_NAMES else "")
