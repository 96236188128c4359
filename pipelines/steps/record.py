"""Close the night: one signed decision record in the ledger, also when nothing was trained."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from pipelines.core.contract import Manifest, canonical_json
from pipelines.core.errors import InputError
from pipelines.observability.step_metrics import push_steps
from pipelines.policy.night.outcome import outcome_of
from pipelines.runner import Context, Outcome
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Ledger
from pipelines.stores.signer import open_signer

SETTINGS = ("cost",)
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    return {}


def run(ctx: Context) -> Outcome:
    decided = outcome_of(ctx.inputs)
    if decided is None:
        raise InputError(
            "a night whose steps all answered",
            f"answers from {', '.join(ctx.inputs) or 'no step'} only",
            "Mend the step that broke (its fault.json says why) and run it again; then record.",
        )
    outcome, reasons = decided
    ledger = open_ledger(ctx.config)
    for manifest in ctx.inputs.values():
        ledger.add_cost(_cost(ctx, manifest))
    facts = decision_facts(ctx.inputs)
    evidence = {step: manifest.digest for step, manifest in ctx.inputs.items()}
    if ledger.decision(ctx.run.run_id) is None:  # a rerun after a kill finds its own record
        _sign_and_add(
            ctx, ledger, {"outcome": outcome, "reasons": list(reasons), "facts": facts, "evidence": evidence}
        )
    if ctx.config.watch.pushgateway:
        push_steps(ctx.config.watch.pushgateway, outcome, ctx.run.manifests())
    return Outcome(
        headline=f"{outcome}: {reasons[0]}",
        reasons=reasons,
        facts={"outcome": outcome, "evidence": evidence, **facts},
    )


def decision_facts(manifests: dict[str, Manifest]) -> dict[str, Any]:
    """What a later night, or a person a year later, needs to know of this one."""
    facts: dict[str, Any] = {"cause": None}
    if "decide" in manifests:
        facts |= {key: manifests["decide"].facts[key] for key in ("cause", "ruling", "baseline", "drift")}
    if "evaluate" in manifests:
        facts |= {key: manifests["evaluate"].facts[key] for key in ("accuracy", "suite_digest")}
    if "train" in manifests:
        facts |= {key: manifests["train"].facts[key] for key in ("adapter_digest", "base_digest")}
    if "register" in manifests:
        facts["registered_version"] = manifests["register"].facts.get("version")
    return facts


def _sign_and_add(ctx: Context, ledger: Ledger, answer: dict[str, Any]) -> None:
    document = {
        "run_id": ctx.run.run_id,
        "night": ctx.night.isoformat(),
        "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ledger_head": ledger.head(),
        **answer,
    }
    signature = open_signer(ctx.config).sign(canonical_json(document))
    ledger.add_decision(document, signature)
    log.info("decision signed and recorded for %s: %s", ctx.run.run_id, answer["outcome"])


def _cost(ctx: Context, manifest: Manifest) -> dict[str, Any]:
    usage, price = manifest.usage, ctx.config.cost
    amount = usage.cpu_seconds / 3600 * price.cpu_hour + usage.gpu_seconds / 3600 * price.gpu_hour
    return {
        "run_id": ctx.run.run_id,
        "step": manifest.step,
        "night": ctx.night.isoformat(),
        "seconds": usage.seconds,
        "cpu_seconds": usage.cpu_seconds,
        "gpu_seconds": usage.gpu_seconds,
        "amount": round(amount, 6),
        "currency": price.currency,
    }
