"""The trigger form of `nightly_retrain`, and how a filled-in form becomes a night and its overrides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

from airflow.sdk import Param

from pipelines.core.config import Config
from pipelines.core.contract import run_id_for

# The form's field -> the setting that it overrides.
OVERRIDES = {
    "force": "decide.force",
    "epochs": "train.epochs",
    "rank": "train.rank",
    "dry_run": "register.dry_run",
    "cause": "decide.cause",
    "ruling": "decide.ruling",
}


def params(config: Config) -> dict[str, Param]:
    """The fields of the form. Airflow refuses a value of another type or range."""
    sample = config.sample if config.ingest.kind == "sample" else None
    days = f" The sample has {sample.first_night} to {sample.last_night}." if sample else ""
    return {
        "night": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Night",
            description=f"The day whose interactions are read. Empty: the last that has ended (UTC).{days}",
        ),
        "force": Param(
            False, type="boolean", title="Force", description="Train even if `decide` finds no reason to."
        ),
        "epochs": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=100,
            title="Epochs",
            description="Empty: as configured.",
        ),
        "rank": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=512,
            title="LoRA rank",
            description="Empty: as configured.",
        ),
        "attempt": Param(
            1,
            type="integer",
            minimum=1,
            maximum=99,
            title="Attempt",
            description="A decided night is never decided again. To run it once more, raise this number.",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Do everything except register the candidate."
        ),
        "cause": Param(
            None,
            type=["null", "string"],
            pattern="^alert:.{1,250}$",
            title="Cause",
            description="Set by `alert_router`: the alerts that started this night.",
        ),
        "ruling": Param(
            None,
            type=["null", "string"],
            pattern="^[0-9a-f]{32}$",
            title="Ruling",
            description="Set by `alert_router`: the id of its decision in the ledger.",
        ),
    }


@dataclass(frozen=True)
class Plan:
    """A run to do: its night, and the settings that it overrides (dotted keys)."""

    night: date
    overrides: dict[str, Any]
    attempt: int = 1

    @property
    def run_id(self) -> str:
        return run_id_for(self.night, self.overrides, self.attempt)


def plan(params: Mapping[str, Any], run_after: datetime, zone: tzinfo = UTC) -> Plan:
    """The plan of a filled-in form. An empty night is the last day in `zone` before `run_after`."""
    overrides = {key: params[field] for field, key in OVERRIDES.items() if params.get(field)}
    night = params.get("night")
    last_ended = run_after.astimezone(zone).date() - timedelta(days=1)
    return Plan(date.fromisoformat(night) if night else last_ended, overrides, params.get("attempt") or 1)
