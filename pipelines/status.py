"""`python -m pipelines status`: the last nights, their decisions and reasons, the live adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.adapters.aliases import in_production
from pipelines.adapters.ledger import Decision, Ledger
from pipelines.config import Config


def print_status(config: Config, limit: int, as_json: bool, run_id: str | None) -> int:
    ledger = Ledger(config.path(config.ledger_url))
    decisions = ledger.decisions()[-limit:]
    if run_id:
        decisions = [found] if (found := ledger.decision(run_id)) else []
    live = in_production(config)
    state = {
        "live_adapter": {"version": live.version, "digest": live.digest} if live else None,
        "nights": [_night(config, decision) for decision in decisions],
    }
    print(json.dumps(state, indent=1) if as_json else _text(config, state, bool(run_id)))
    return 0


def _night(config: Config, decision: Decision) -> dict[str, Any]:
    return {
        "night": decision.night.isoformat(),
        "run_id": decision.run_id,
        "outcome": decision.outcome,
        "reasons": list(decision.reasons),
        "accuracy": decision.facts.get("accuracy"),
        "registered_version": decision.facts.get("registered_version"),
        "report": str(Path(config.home) / "runs" / decision.run_id / "report" / "report.html"),
    }


def _text(config: Config, state: dict[str, Any], in_detail: bool) -> str:
    live = state["live_adapter"]
    name = f"version {live['version']} ({live['digest'][:12]})" if live else "none; the base model answers"
    if not state["nights"]:
        return f"live adapter  {name}\nno night decided yet: run `make nightly`"
    if in_detail:
        return "\n".join([*_details(state["nights"][-1]), f"live adapter  {name}"])
    rows = [f"{'night':<20} {'outcome':<9} {'before':>7} {'after':>7}  why"]
    for night in state["nights"]:
        before, after = _accuracy(night, "production"), _accuracy(night, "candidate")
        rows.append(
            f"{night['run_id']:<20} {night['outcome']:<9} {before:>7} {after:>7}  {night['reasons'][0]}"
        )
    return "\n".join([*rows, f"live adapter  {name}"])


def _accuracy(night: dict[str, Any], model: str) -> str:
    return f"{night['accuracy'][model]['value']:.1%}" if night["accuracy"] else "-"


def _details(night: dict[str, Any]) -> list[str]:
    lines = [f"decision      {night['outcome']}: {night['reasons'][0]}"]
    lines += [f"              {reason}" for reason in night["reasons"][1:]]
    for model, label in (("production", "before"), ("candidate", "after")) if night["accuracy"] else ():
        a = night["accuracy"][model]
        lines.append(f"accuracy {label:<6} {a['value']:.1%} (95% interval {a['low']:.1%} to {a['high']:.1%})")
    return [*lines, f"report        {night['report']}"]
