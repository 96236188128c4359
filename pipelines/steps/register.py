"""Step 13: put the accepted adapter into the registry, with digests of all it depends on."""

from __future__ import annotations

import json

from pipelines.core.contract import Verdict
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.register import RegisterFacts
from pipelines.core.facts.train import TrainFacts
from pipelines.models import open_registry, open_tracker
from pipelines.models.registry import Registry
from pipelines.policy.night.lineage import datasets, nights_seen, spans
from pipelines.runner import Context, Outcome

SETTINGS = ("model", "register")


def external_inputs(ctx: Context) -> dict[str, str]:
    return {}


def run(ctx: Context) -> Outcome:
    config, train = ctx.config, ctx.inputs["train"]
    if config.register_.dry_run:
        words = "This is a dry run: the candidate passed the gate and is not registered."
        return Outcome(headline="dry run, nothing registered", verdict=Verdict.SKIP, reasons=(words,))
    registry = open_registry(config)
    tracker = open_tracker(config)
    registered = registry.register(
        ctx.read("train", "adapter"),
        tracker,
        tracker.run(ctx.run.run_id, train.fingerprint),
        ctx.run.run_id,
        tuple(str(night) for night in ctx.facts(CurateFacts).nights),
        _tags(ctx) | _lineage(ctx, registry),
    )
    previous = registered.tags["previous_candidate"]
    return Outcome(
        headline=f"{config.register_.name} version {registered.version} is the candidate",
        metrics={"version": (float(registered.version), "version")},
        facts=RegisterFacts(
            name=config.register_.name,
            version=registered.version,
            adapter_digest=registered.digest,
            previous_candidate=previous or None,
            nights=tuple(registered.nights),
            tags=registered.tags,
        ),
    )


def _tags(ctx: Context) -> dict[str, str]:
    """What serving the adapter needs to match the evaluation, and the evidence of that evaluation."""
    train, curate, trained = ctx.inputs["train"], ctx.inputs["curate"], ctx.facts(TrainFacts)
    evidence = {f"evidence_{step}": manifest.digest for step, manifest in ctx.inputs.items()}
    return {
        "base": ctx.config.model.base.rstrip("/").rsplit("/", 1)[-1],
        "base_digest": trained.base_digest,
        "tokenizer_digest": trained.tokenizer_digest,
        "lock_digest": train.lock_digest,
        "code_digest": train.code_digest,
        "data_digest": curate.outputs["train"].sha256,
        "train_fingerprint": train.fingerprint,
        **evidence,
    }


def _lineage(ctx: Context, registry: Registry) -> dict[str, str]:
    """Where the version comes from. A fresh adapter has no parent; the base model is in the other tags."""
    baseline, is_fresh = ctx.facts(DecideFacts).baseline, ctx.facts(TrainFacts).method == "fresh"
    parent = None if is_fresh or baseline.kind == "base" else registry.version(baseline.version)
    replayed = spans(ctx.facts(CurateFacts).replay_nights)
    return {
        "parent_version": parent.version if parent else "",
        "parent_digest": parent.digest if parent else "",
        "replay_nights": json.dumps(replayed),
        "nights_seen": json.dumps(nights_seen(ctx.inputs, parent.nights_seen if parent else ())),
        "datasets": json.dumps(datasets(ctx.inputs)),
    }
