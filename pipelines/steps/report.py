"""One self-contained HTML page a night: what happened, why, and plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.parquet as pq

from pipelines.core.contract import NIGHTLY, Manifest
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.drift import DriftFacts
from pipelines.core.facts.evaluate import EvaluateFacts, EvaluateReadings
from pipelines.core.facts.fairness import FairnessFacts
from pipelines.core.facts.gate import Check, GateFacts, GateReadings
from pipelines.core.facts.ingest import IngestFacts
from pipelines.core.facts.judge import JudgeCost
from pipelines.core.facts.reading import Facts, facts_of, readable_parts
from pipelines.core.facts.safety import SafetyFacts
from pipelines.core.facts.train import TrainFacts
from pipelines.core.interactions import INTERACTION
from pipelines.policy.night.outcome import outcome_of
from pipelines.reporting import plots
from pipelines.reporting.changes import Change, most_changed
from pipelines.reporting.told import night_told
from pipelines.runner import Context, Outcome
from pipelines.stores.ledger.costs import amount_of, priced_interruptions

SETTINGS = ("evaluate", "fairness", "cost")
PLOTS = ("time", "drift", "topics", "loss", "accuracy", "stereotype", "slices")
SHOWN: tuple[type[Facts], ...] = (
    IngestFacts, DriftFacts, DecideFacts, TrainFacts, EvaluateFacts, FairnessFacts, SafetyFacts, GateFacts,
)  # fmt: skip
TEMPLATES = Path(__file__).parents[1] / "reporting" / "templates"


def external_inputs(ctx: Context) -> dict[str, str]:
    return {}


def run(ctx: Context) -> Outcome:
    unfinished = [step for step in NIGHTLY if step not in ctx.inputs]
    faults = [fault for step in unfinished if (fault := ctx.run.fault(step))]
    outcome, reasons = outcome_of(ctx.inputs) or ("broken" if faults else "undecided", ())
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    facts, unreadable = _facts(ctx.inputs)
    changes, changed = _changes(ctx, unreadable)
    steps = [_step_row(ctx, manifest) for manifest in ctx.inputs.values()]
    page = environment.get_template("report.html.j2").render(
        run_id=ctx.run.run_id,
        night=ctx.night,
        profile=ctx.config.profile,
        currency=ctx.config.cost.currency,
        outcome=outcome,
        reasons=reasons,
        faults=faults,
        steps=steps,
        not_run=unfinished,
        facts=facts,
        decisions=night_told(ctx.inputs),
        interrupted=priced_interruptions(ctx.inputs, ctx.config.cost),
        unreadable=unreadable,
        plots=dict.fromkeys(PLOTS) | _plots(ctx, facts, steps),
        lineage=_lineage(ctx.inputs),
        gate_rows=_gate_rows(ctx.inputs, facts["gate"]),
        finds=_finds(facts["fairness"]),
        judge_cost=_judge_cost(ctx.inputs),
        defaults={column.name: column.default for column in INTERACTION} | ctx.config.ingest.defaults,
        data_docs=_data_docs(ctx.inputs),
        changes=changes,
        changed=changed,
        confidence=f"{100 * ctx.config.evaluate.confidence:g}%",
    )
    (ctx.out / "report.html").write_text(page, encoding="utf-8")
    return Outcome(headline=ctx.uri_of("report.html"), outputs={"report": "report.html"})


def _step_row(ctx: Context, manifest: Manifest) -> dict[str, Any]:
    usage = manifest.usage
    return {
        "step": manifest.step,
        "verdict": manifest.verdict.value,
        "headline": manifest.headline,
        "reasons": manifest.reasons,
        "seconds": usage.seconds,
        "cpu_seconds": usage.cpu_seconds,
        "gpu_seconds": usage.gpu_seconds,
        "peak_memory_mib": usage.peak_memory_mib,
        "cost": amount_of(usage, ctx.config.cost),
    }


def _facts(manifests: Mapping[str, Manifest]) -> tuple[dict[str, Any], list[str]]:
    """Each step's facts, None where there are none, and a sentence for each that cannot be read."""
    facts: dict[str, Any] = dict.fromkeys(NIGHTLY)
    unreadable = []
    for model in SHOWN:
        if model.step in manifests and manifests[model.step].facts:
            try:
                facts[model.step] = facts_of(manifests, model)
            except IntegrityError as error:
                unreadable.append(str(error))
    return facts, unreadable


def _changes(ctx: Context, unreadable: list[str]) -> tuple[list[Change], int]:
    """The answers that changed most, and how many did; what cannot be read is added to `unreadable`."""
    evaluated = ctx.inputs.get("evaluate")
    if not (evaluated and "items" in evaluated.outputs):
        return [], 0
    try:
        return most_changed(pq.read_table(ctx.read("evaluate", "items")).to_pylist())
    except (InputError, IntegrityError) as error:
        unreadable.append(str(error))
        return [], 0


def _gate_rows(manifests: Mapping[str, Manifest], facts: GateFacts | None) -> list[Check]:
    """The gate's table, with the times that it read off a clock."""
    if facts is None:
        return []
    timed = readable_parts(manifests["gate"].readings, GateReadings)[0].latency
    return [timed if timed and row.check == "latency" else row for row in facts.rows]


def _judge_cost(manifests: Mapping[str, Manifest]) -> JudgeCost | None:
    if "evaluate" not in manifests:
        return None
    return readable_parts(manifests["evaluate"].readings, EvaluateReadings)[0].judge_cost


def _finds(facts: FairnessFacts | None) -> dict[tuple[str, str], float]:
    """The growth of harm that each group would show, by its names."""
    return {(one.of, one.group): one.finds for one in facts.plan.groups} if facts and facts.plan else {}


def _plots(ctx: Context, facts: Mapping[str, Any], steps: list[dict[str, Any]]) -> dict[str, str]:
    drift, train, evaluate, fairness = (facts[step] for step in ("drift", "train", "evaluate", "fairness"))
    drawn = {"time": plots.time_plot(steps)} if steps else {}
    if drift and any(column.distances for column in drift.columns):
        drawn["drift"] = plots.nights_plot(drift.columns)
    if drift and drift.topics:
        drawn["topics"] = plots.topics_plot(drift.topics)
    if train:
        drawn["loss"] = plots.loss_plot(train.loss, train.dev_loss)
    if evaluate and evaluate.by_subject:
        drawn["accuracy"] = plots.accuracy_plot(evaluate.by_subject)
    if fairness:
        margin = ctx.config.fairness.margin
        drawn["stereotype"] = plots.fairness_plot(fairness.stereotype or (), margin)
        drawn["slices"] = plots.fairness_plot(fairness.slices or (), margin)
    return drawn


def _lineage(manifests: dict[str, Manifest]) -> list[dict[str, Any]]:
    """Each step with what it read and wrote, by digest."""
    return [
        {
            "step": m.step,
            "digest": m.digest,
            "inputs": m.inputs,
            "outputs": {name: artifact.sha256 for name, artifact in m.outputs.items() if "/" not in name},
            "commit": m.git_commit,
        }
        for m in manifests.values()
    ]


def _data_docs(manifests: dict[str, Manifest]) -> str | None:
    validated = manifests.get("validate")
    index = validated.outputs.get("data_docs/index.html") if validated else None
    return f"../{validated.place(index)}" if validated and index else None
