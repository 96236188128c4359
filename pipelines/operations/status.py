"""`nightshift status`: the last nights, their decisions and reasons, the live adapter."""

from __future__ import annotations

import json
from typing import Any

from pipelines.core.barrier import left_words
from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.facts.reading import as_json
from pipelines.core.facts.record import decision_facts
from pipelines.core.traffic_split import Adapter
from pipelines.models import open_registry
from pipelines.models.aliases import in_production
from pipelines.models.registry import CANDIDATE, RegisteredAdapter
from pipelines.stores import has_ledger, open_ledger, report_uri, run_ids
from pipelines.stores.held_move import gone_gateways, held_move
from pipelines.stores.ledger import Decision, Ledger

DELIVER = "start it again, or deliver its spool: nightshift spool deliver HOME"


def print_status(config: Config, limit: int, as_json: bool, run_id: str | None) -> int:
    """Raises InputError for a home that was never set up, which stays as it is, and for an unknown run."""
    ledger = _ledger(config)
    decisions = [_decided(config, ledger, run_id)] if run_id else ledger.decisions()[-limit:]
    waits = open_registry(config).by_alias(CANDIDATE)
    state = {
        "live_adapter": _named(in_production(config)),
        "candidate": _named(waits),
        "rollout": _rollout(config, ledger),
        "held_move": held_move(config, ledger.promotion().number),
        "left_behind": [left_words(one) for one in gone_gateways(config)],
        "nights": [_night(config, decision) for decision in decisions],
    }
    print(json.dumps(state, indent=1) if as_json else _text(state, bool(run_id)))
    return 0


def _ledger(config: Config) -> Ledger:
    if not has_ledger(config):
        raise InputError(
            f"There is no ledger in {config.home}.",
            "Name the home of Nightshift with --home or NIGHTSHIFT_HOME, or set one up with `make setup`.",
        )
    return open_ledger(config)


def _decided(config: Config, ledger: Ledger, run_id: str) -> Decision:
    if decision := ledger.decision(run_id):
        return decision
    begun = run_id in run_ids(config)
    raise InputError(
        f"The run {run_id} is not decided yet." if begun else f"There is no run {run_id}.",
        "`nightshift status` without --run-id lists the decided ones.",
    )


def _named(adapter: RegisteredAdapter | Adapter | None) -> dict[str, str] | None:
    return {"version": adapter.version, "digest": adapter.digest} if adapter else None


def _rollout(config: Config, ledger: Ledger) -> dict[str, str] | None:
    """The rollout under way: its adapter, its stage, and since when (ISO 8601, UTC)."""
    now = ledger.promotion()
    if (named := _named(now.route.in_rollout)) is None:
        return None
    stage = config.promote.stage_of(now.route)
    return {**named, "stage": stage.name if stage else now.move, "since": now.at}


def _night(config: Config, decision: Decision) -> dict[str, Any]:
    facts = decision_facts(decision.facts)
    return {
        "night": decision.night.isoformat(),
        "run_id": decision.run_id,
        "outcome": decision.outcome,
        "reasons": list(decision.reasons),
        "accuracy": as_json(facts.accuracy) or None,
        "measure": facts.measure,
        "registered_version": facts.registered_version,
        "report": report_uri(config, decision.run_id),
    }


def _text(state: dict[str, Any], in_detail: bool) -> str:
    adapters = _adapters(state)
    if not state["nights"]:
        return "\n".join([*adapters, "no night decided yet: run `make nightly`"])
    if in_detail:
        return "\n".join([*_details(state["nights"][-1]), *adapters])
    rows = [f"{'night':<20} {'outcome':<9} {'before':>7} {'after':>7}  why"]
    for night in state["nights"]:
        before, after = _accuracy(night, "production"), _accuracy(night, "candidate")
        rows.append(
            f"{night['run_id']:<20} {night['outcome']:<9} {before:>7} {after:>7}  {night['reasons'][0]}"
        )
    return "\n".join([*rows, *adapters])


def _adapters(state: dict[str, Any]) -> list[str]:
    """A line each: the live adapter, the candidate, and the rollout under way."""
    live, waits, rollout = state["live_adapter"], state["candidate"], state["rollout"]
    lines = [f"live adapter  {_words(live) if live else 'none; the base model answers'}"]
    lines += [f"candidate     {_words(waits)}"] if waits else []
    if rollout:
        since = f"{rollout['since'][:16].replace('T', ' ')} UTC"
        lines.append(f"rollout       version {rollout['version']} in {rollout['stage']} since {since}")
    lines += [f"held          {state['held_move']}"] if state["held_move"] else []
    lines += [f"gateway       {words}" for words in state["left_behind"]]
    return [*lines, f"              {DELIVER}"] if state["left_behind"] else lines


def _words(adapter: dict[str, str]) -> str:
    return f"version {adapter['version']} ({adapter['digest'][:12]})"


def _accuracy(night: dict[str, Any], model: str) -> str:
    return f"{night['accuracy'][model]['value']:.1%}" if night["accuracy"] else "-"


def _details(night: dict[str, Any]) -> list[str]:
    lines = [f"decision      {night['outcome']}: {night['reasons'][0]}"]
    lines += [f"              {reason}" for reason in night["reasons"][1:]]
    for model, label in (("production", "before"), ("candidate", "after")) if night["accuracy"] else ():
        a = night["accuracy"][model]
        interval = f"95% interval {a['low']:.1%} to {a['high']:.1%}"
        lines.append(f"{night['measure']} {label:<6} {a['value']:.1%} ({interval})")
    return [*lines, f"report        {night['report']}"]
