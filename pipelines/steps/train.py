"""Step 8: fine-tune a LoRA adapter on tonight's examples, from the pinned baseline or from scratch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal

from pipelines.core.errors import InputError, Interrupted
from pipelines.core.facts.common import Baseline, Waiting
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.reading import as_json, parsed
from pipelines.core.facts.train import Interruptions, TrainFacts, TrainReadings
from pipelines.core.files import read_jsonl
from pipelines.core.locks import holding
from pipelines.evaluation.waiting import step_again
from pipelines.models import base as base_model
from pipelines.models import engine, open_registry, open_tracker, trainer
from pipelines.models.checkpoint_copies import CheckpointCopies
from pipelines.models.checkpoints import Trained, save_adapter
from pipelines.models.interruptions import Attempt
from pipelines.models.lora import asked_shape, differences, shape_of
from pipelines.models.registry import adapter_digest
from pipelines.models.rendering import rendering_of
from pipelines.runner import Context, Outcome

log = logging.getLogger("nightshift")
SETTINGS = ("model", "task", "train")
Method = Literal["fresh", "continue"]


def external_inputs(ctx: Context) -> dict[str, str]:
    base = base_model.base_folder(ctx.config)
    return {"base_model": base_model.digest_base(base), "tokenizer": base_model.digest_tokenizer(base)}


def run(ctx: Context) -> Outcome:
    if waiting := ctx.facts(DecideFacts).waiting:
        return _again(ctx, waiting)
    config, settings = ctx.config, ctx.config.train
    rows, dev = read_jsonl(ctx.read("curate", "train")), read_jsonl(ctx.read("curate", "dev"))
    if not rows:
        raise InputError("train.jsonl holds no examples.", "See where the rows went in curate/card.md.")
    base = base_model.base_folder(config)
    baseline, rendering = ctx.facts(DecideFacts).baseline, rendering_of(config)
    start, fresh_because = _start(ctx, baseline, base)
    method: Method = "continue" if start else "fresh"
    tracker = open_tracker(config)
    mlflow_id = tracker.run(ctx.run.run_id, ctx.identity)
    objective = ctx.facts(DecideFacts).objective
    used = {**settings.model_dump(), "method": method, "seed": config.seed, "rows": len(rows)}
    used["objective"] = objective
    tracker.params(mlflow_id, {**used, "start": as_json(baseline) if start else "base"})
    engine.use_threads(config.model.threads)
    copies = CheckpointCopies(config, ctx.run.run_id, ctx.scratch())
    copies.fetch()
    attempt = Attempt(ctx.scratch(), ctx.usage)
    copies.keep()

    def report(step: int, values: dict[str, float]) -> None:
        tracker.metrics(mlflow_id, step, values)
        attempt.step()
        copies.keep()

    with holding(ctx.home, "train", lambda: log.info("train waits until another night's training is over")):
        try:
            trained = trainer.train(
                base,
                rendering,
                settings,
                rows,
                dev,
                config.seed,
                ctx.scratch(),
                start,
                report=report,
                model=config.model,
                objective=objective,
            )
        except Interrupted:
            attempt.note()
            copies.keep(at_once=True)  # the checkpoint that it ended with
            raise
    save_adapter(trained, ctx.out / "adapter", base.name)
    facts = _facts(ctx, trained, base, method, fresh_because, rendering.digest)
    tracker.finish(mlflow_id, {"adapter_digest": facts.adapter_digest})
    copies.forget(attempt.name)
    return _outcome(trained, facts, len(rows), attempt.finish())


def _again(ctx: Context, waiting: Waiting) -> Outcome:
    """The adapter that waits, as it was trained."""
    manifest, outputs = step_again(ctx.config, waiting, "train", ctx.out)
    facts = parsed(manifest.facts, TrainFacts)
    tracker = open_tracker(ctx.config)
    mlflow_id = tracker.run(ctx.run.run_id, ctx.identity)
    tracker.params(mlflow_id, {"measured_again": waiting.run_id})
    tracker.finish(mlflow_id, {"adapter_digest": facts.adapter_digest})
    return Outcome(
        headline=f"nothing: the candidate of {waiting.run_id} waits for more rows",
        outputs=outputs,
        facts=facts,
    )


def _facts(
    ctx: Context, trained: Trained, base: Path, method: Method, fresh_because: str | None, rendering: str
) -> TrainFacts:
    return TrainFacts(
        adapter_digest=adapter_digest(ctx.out / "adapter"),
        base_digest=base_model.digest_base(base),
        tokenizer_digest=base_model.digest_tokenizer(base),
        method=method,
        objective=ctx.facts(DecideFacts).objective,
        trainable_parameters=trained.trainable_parameters,
        steps=trained.steps,
        stopped_early=trained.stopped_early,
        loss=tuple(trained.loss),
        dev_loss=tuple(trained.dev_loss),
        grad_norms=tuple(trained.grad_norm),
        fresh_because=fresh_because,
        rendering_digest=rendering,
        moved=trained.moved,
        unmoved_tensors=trained.unmoved_tensors,
        reload_difference=trained.reload_difference,
    )


def _outcome(
    trained: Trained, facts: TrainFacts, examples: int, interruptions: Interruptions | None
) -> Outcome:
    curve = trained.dev_loss or trained.loss
    lowest = min(value for _, value in curve)
    return Outcome(
        headline=f"{_which(facts)} loss {curve[0][1]:.2f} to {lowest:.2f} "
        f"in {trained.steps} steps on {examples} examples",
        reasons=_reasons(facts),
        outputs={"adapter": "adapter"},
        metrics={
            "examples": (examples, "rows"),
            "steps": (trained.steps, "steps"),
            "dev_loss": (lowest, "nats/token" if facts.objective == "sft" else facts.objective),
        },
        facts=facts,
        readings=TrainReadings(interruptions=interruptions),
    )


def _which(facts: TrainFacts) -> str:
    by = "" if facts.objective == "sft" else f"{facts.objective} "
    return by + ("dev" if facts.dev_loss else "training")


def _reasons(facts: TrainFacts) -> tuple[str, ...]:
    said = [facts.fresh_because] if facts.fresh_because else []
    if facts.unmoved_tensors:
        said.append(f"{facts.unmoved_tensors} of the adapter's tensors did not move in training.")
    return tuple(said)


def _start(ctx: Context, baseline: Baseline, base: Path) -> tuple[Path | None, str | None]:
    """The folder of the baseline adapter that training continues from, or why it cannot.

    Neither, where a fresh adapter is what was asked for.
    """
    if ctx.config.train.method == "fresh" or baseline.kind == "base":
        return None, None
    adapter = open_registry(ctx.config).fetch(baseline.version)
    differs = differences(shape_of(adapter, base), asked_shape(ctx.config.train, base))
    if not differs:
        return adapter, None
    because = f"A fresh adapter was trained, not version {baseline.version} continued: {'; '.join(differs)}."
    log.warning("train: %s", because)
    return None, because
