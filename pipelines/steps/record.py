"""Close the night: one signed decision record in the ledger, also when nothing was trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipelines.core.contract import Manifest, Verdict, canonical_json
from pipelines.core.errors import InputError
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.evaluate import EvaluateFacts
from pipelines.core.facts.gate import GateFacts
from pipelines.core.facts.reading import as_json, facts_of
from pipelines.core.facts.record import DecisionFacts, RecordFacts, RecordReadings
from pipelines.core.facts.register import RegisterFacts
from pipelines.core.facts.train import TrainFacts
from pipelines.observability.step_metrics import push_steps
from pipelines.policy.night.lineage import datasets, nights_seen
from pipelines.policy.night.outcome import outcome_of
from pipelines.reporting.told import night_told
from pipelines.runner import Context, Outcome
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.costs import cost_row, priced_interruptions
from pipelines.stores.signer import open_signer

SETTINGS = ("cost",)
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    return {}


def run(ctx: Context) -> Outcome:
    decided = outcome_of(ctx.inputs)
    if decided is None:
        raise InputError(
            f"The night cannot be recorded: only {', '.join(ctx.inputs) or 'no step'} finished.",
            "Mend the step that broke (its fault.json says why), run it again, then run record.",
        )
    outcome, reasons = decided
    ledger = open_ledger(ctx.config)
    for manifest in ctx.inputs.values():
        ledger.add_cost(cost_row(ctx.run.run_id, ctx.night, manifest.step, manifest.usage, ctx.config.cost))
    facts = facts_to_sign(ctx.inputs)
    interrupted = RecordReadings(interruptions=priced_interruptions(ctx.inputs, ctx.config.cost))
    evidence = {step: manifest.digest for step, manifest in ctx.inputs.items()}
    if ledger.decision(ctx.run.run_id) is None:  # a rerun after a kill finds its own record
        decision = {
            "outcome": outcome,
            "reasons": list(reasons),
            "facts": as_json(facts) | as_json(interrupted),
        }
        _sign_and_add(ctx, ledger, {**decision, "evidence": evidence})
    if ctx.config.watch.pushgateway:
        push_steps(ctx.config.watch.pushgateway, outcome, ctx.run.manifests())
    return Outcome(
        headline=f"{outcome}: {reasons[0]}",
        reasons=reasons,
        facts=RecordFacts(outcome=outcome, evidence=evidence, **_set_fields(facts)),
        readings=interrupted,
    )


def facts_to_sign(manifests: Mapping[str, Manifest]) -> DecisionFacts:
    """What later nights, and people, need to know of this one."""
    known: dict[str, Any] = {"cause": None, "told": night_told(manifests)}
    if "decide" in manifests:
        decided = facts_of(manifests, DecideFacts)
        known |= {name: getattr(decided, name) for name in ("cause", "ruling", "baseline", "drift")}
        known |= {"measured_again": decided.waiting.run_id} if decided.waiting else {}
    if "evaluate" in manifests:
        evaluated = facts_of(manifests, EvaluateFacts)
        known |= {name: getattr(evaluated, name) for name in ("accuracy", "measure", "suite_digest")}
        known |= {"suite": evaluated.suite} if evaluated.suite else {}
        known |= {"pool_position": evaluated.pool.position} if evaluated.pool else {}
    if "gate" in manifests and manifests["gate"].verdict is Verdict.WAIT:
        known["waiting"] = facts_of(manifests, GateFacts).waiting
    if "train" in manifests:
        trained = facts_of(manifests, TrainFacts)
        known |= {"adapter_digest": trained.adapter_digest, "base_digest": trained.base_digest}
        known |= {"method": trained.method, "nights_seen": tuple(nights_seen(manifests))}
        known["datasets"] = datasets(manifests)
        known["deliveries"] = facts_of(manifests, DecideFacts).deliveries
        known["training_set"] = facts_of(manifests, CurateFacts).training_set
    if "register" in manifests:  # a dry run registers nothing and has no facts
        registered = manifests["register"].facts
        known["registered_version"] = facts_of(manifests, RegisterFacts).version if registered else None
    return DecisionFacts(**known)


def _set_fields(facts: DecisionFacts) -> dict[str, Any]:
    return {name: getattr(facts, name) for name in facts.model_fields_set}


def _sign_and_add(ctx: Context, ledger: Ledger, decision: dict[str, Any]) -> None:
    document = {
        "run_id": ctx.run.run_id,
        "night": ctx.night.isoformat(),
        "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ledger_head": ledger.head(),
        **decision,
    }
    signature = open_signer(ctx.config).sign(canonical_json(document))
    ledger.add_decision(document, signature)
    log.info("decision signed and recorded for %s: %s", ctx.run.run_id, decision["outcome"])
