"""Step 13: put the accepted adapter into the registry, with digests of all it depends on.

Beside the adapter lie its probes: items of the frozen suite on which base and adapter clearly differ, with
the log-probabilities of both. A gateway asks them to see that its engine serves this adapter. Where the two
hardly differ, nothing could show that, and the night is held. No user's text becomes a probe, as probes stay
for as long as the version does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from pipelines.core.contract import Verdict
from pipelines.core.facts.common import Baseline
from pipelines.core.facts.curate import CurateFacts
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.register import ProbeFacts, RegisterFacts
from pipelines.core.facts.train import TrainFacts
from pipelines.core.probes import Probe, ProbeSet
from pipelines.evaluation.suite import suite_file_digest, suite_items
from pipelines.models import open_registry, open_tracker
from pipelines.models.base import base_digest
from pipelines.models.pair import ModelPair
from pipelines.models.probes import TOKENS, measured
from pipelines.models.registry import PROBES_FOLDER, PROBES_TAG, Registry
from pipelines.policy.night.lineage import datasets, nights_seen, spans
from pipelines.runner import Context, Outcome

SETTINGS = ("model", "register", "task", "evaluate")
Measured = Sequence[tuple[float, Probe]]  # distance from the base, the farthest first


def external_inputs(ctx: Context) -> dict[str, str]:
    if ctx.config.register_.dry_run:
        return {}
    return {"suite": suite_file_digest(ctx.config), "base": base_digest(ctx.config)}


def run(ctx: Context) -> Outcome:
    config, train = ctx.config, ctx.inputs["train"]
    if config.register_.dry_run:
        words = "This is a dry run: the candidate passed the gate and is not registered."
        return Outcome(headline="dry run, nothing registered", verdict=Verdict.SKIP, reasons=(words,))
    found = _measured(ctx)
    probes = _probe_facts(ctx, found)
    if probes.clear < probes.count:
        return _held(ctx, probes)
    digest = _write_probes(ctx, [probe for _, probe in found[: probes.count]])
    registry = open_registry(config)
    tracker = open_tracker(config)
    mlflow_id = tracker.run(ctx.run.run_id, train.fingerprint)
    tracker.upload(mlflow_id, ctx.out / PROBES_FOLDER, PROBES_FOLDER)
    registered = registry.register(
        ctx.read("train", "adapter"),
        tracker,
        mlflow_id,
        ctx.run.run_id,
        tuple(str(night) for night in ctx.facts(CurateFacts).nights),
        _tags(ctx) | _lineage(ctx, registry) | {PROBES_TAG: digest},
    )
    previous = registered.tags["previous_candidate"]
    return Outcome(
        headline=f"{config.register_.name} version {registered.version} is the candidate",
        outputs={PROBES_FOLDER: PROBES_FOLDER},
        metrics={
            "version": (float(registered.version), "version"),
            "probe_distance": (probes.nearest, "nats"),
        },
        facts=RegisterFacts(
            name=config.register_.name,
            version=registered.version,
            adapter_digest=registered.digest,
            previous_candidate=previous or None,
            nights=tuple(registered.nights),
            tags=registered.tags,
            probes=probes,
        ),
    )


def _measured(ctx: Context) -> Measured:
    """Items of the suite, drawn by the seed, with what the bare base and the adapter answer."""
    items, settings = suite_items(ctx.config), ctx.config.register_
    order = np.random.default_rng(ctx.config.seed).permutation(len(items))[: settings.probe_candidates]
    models = ModelPair(ctx.config, Baseline(kind="base"), ctx.read("train", "adapter"), ctx.facts(TrainFacts))
    return measured(models, [items[place]["messages"] for place in sorted(order.tolist())])


def _probe_facts(ctx: Context, found: Measured) -> ProbeFacts:
    settings, distances = ctx.config.register_, [distance for distance, _ in found]
    return ProbeFacts(
        count=settings.probes,
        candidates=len(found),
        clear=sum(distance >= settings.probe_distance for distance in distances),
        nearest=round(min(distances[: settings.probes], default=0.0), 4),
        farthest=round(max(distances, default=0.0), 4),
    )


def _held(ctx: Context, probes: ProbeFacts) -> Outcome:
    least = ctx.config.register_.probe_distance
    words = (
        f"Base and adapter clearly differ on {probes.clear} of {probes.candidates} items of the suite, and"
        f" {probes.count} are needed: by at least {least:g} nats (register.probe_distance); the largest"
        f" difference is {probes.farthest:.3f}. Without them nothing could show that an engine serves the"
        " adapter and not its base. Train for longer, or add items to the suite."
    )
    return Outcome(
        headline="nothing registered: base and adapter hardly differ", verdict=Verdict.HOLD, reasons=(words,)
    )


def _write_probes(ctx: Context, chosen: Sequence[Probe]) -> str:
    """Write the probes and return the digest of their file, which is also its name."""
    data = ProbeSet(tokens=TOKENS, probes=tuple(chosen)).model_dump_json(indent=1).encode()
    digest = hashlib.sha256(data).hexdigest()
    (ctx.out / PROBES_FOLDER).mkdir()
    (ctx.out / PROBES_FOLDER / f"{digest}.json").write_bytes(data)
    return digest


def _tags(ctx: Context) -> dict[str, str]:
    """What serving the adapter needs to match the evaluation, and the evidence of that evaluation."""
    train, curate, trained = ctx.inputs["train"], ctx.inputs["curate"], ctx.facts(TrainFacts)
    evidence = {f"evidence_{step}": manifest.digest for step, manifest in ctx.inputs.items()}
    baseline = ctx.facts(DecideFacts).baseline
    return {
        "baseline_version": baseline.version,
        "baseline_digest": baseline.digest,
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
