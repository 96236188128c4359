"""One self-contained HTML page a night: what happened, why, and the plots a person would look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from pipelines.core.contract import NIGHTLY, Manifest
from pipelines.policy.night.outcome import outcome_of
from pipelines.reporting import plots
from pipelines.runner import Context, Outcome

SETTINGS = ("drift", "fairness", "cost")
PLOTS = ("time", "drift", "topics", "loss", "accuracy", "stereotype", "slices")
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
        facts={step: ctx.inputs[step].facts if step in ctx.inputs else None for step in NIGHTLY},
        plots=dict.fromkeys(PLOTS) | _plots(ctx, steps),
        lineage=_lineage(ctx.inputs),
        gate_rows=_gate_rows(ctx.inputs),
        data_docs=_data_docs(ctx.inputs),
    )
    (ctx.out / "report.html").write_text(page, encoding="utf-8")
    return Outcome(headline=f"{ctx.run.folder.uri}/report/report.html", outputs={"report": "report.html"})


def _step_row(ctx: Context, manifest: Manifest) -> dict[str, Any]:
    usage, price = manifest.usage, ctx.config.cost
    return {
        "step": manifest.step,
        "verdict": manifest.verdict.value,
        "headline": manifest.headline,
        "reasons": manifest.reasons,
        "seconds": usage.seconds,
        "cpu_seconds": usage.cpu_seconds,
        "gpu_seconds": usage.gpu_seconds,
        "peak_memory_mib": usage.peak_memory_mib,
        "cost": usage.cpu_seconds / 3600 * price.cpu_hour + usage.gpu_seconds / 3600 * price.gpu_hour,
    }


def _gate_rows(inputs: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    """The gate's table, with the times that it read off a clock."""
    if "gate" not in inputs:
        return []
    timed = inputs["gate"].readings["latency"]
    return [timed if row["check"] == "latency" else row for row in inputs["gate"].facts["rows"]]


def _plots(ctx: Context, steps: list[dict[str, Any]]) -> dict[str, str]:
    facts = {step: manifest.facts for step, manifest in ctx.inputs.items()}
    drawn = {"time": plots.time_plot(steps)} if steps else {}
    if facts.get("drift", {}).get("columns"):
        drawn["drift"] = plots.drift_plot(facts["drift"]["columns"], ctx.config.drift.alpha)
    if facts.get("drift", {}).get("topics"):
        drawn["topics"] = plots.topics_plot(facts["drift"]["topics"])
    if "train" in facts:
        drawn["loss"] = plots.loss_plot(facts["train"]["loss"], facts["train"]["dev_loss"])
    if "evaluate" in facts:
        drawn["accuracy"] = plots.accuracy_plot(facts["evaluate"]["by_subject"])
    if "fairness" in facts:
        for part in ("stereotype", "slices"):
            drawn[part] = plots.fairness_plot(facts["fairness"][part], ctx.config.fairness.margin)
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
    outputs = manifests["validate"].outputs if "validate" in manifests else {}
    index = next((a.path for name, a in outputs.items() if name == "data_docs/index.html"), None)
    return f"../validate/{index}" if index else None
