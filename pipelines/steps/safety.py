"""Is the candidate safe? Harmful prompts, toxic answers, and planted secrets that it must not give away.

Production and candidate answer the same prompts under the task's own system prompt. The rules are in
pipelines/policy/night/safety.py and, for "worse", in fairness.py beside it. This step reports, and the gate
decides.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.safety import ClassifierQuality, Exposure, Memorised, SafetyFacts
from pipelines.core.facts.train import TrainFacts
from pipelines.core.files import sha256_of
from pipelines.data.embedder import Embedder, resolve
from pipelines.evaluation import safety_data
from pipelines.evaluation.leaks import memorised, secret_exposure
from pipelines.evaluation.toxicity import ToxicityHead
from pipelines.models.base import base_digest
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.models.rendering import Rendering, rendering_of
from pipelines.policy.night.examples import ALTERNATIVES
from pipelines.policy.night.fairness import compare
from pipelines.policy.night.safety import assess_safety, refuses_or_is_harmless
from pipelines.policy.night.safety_facts import harmful_facts, rounded, toxicity_facts
from pipelines.runner import Context, Outcome

SETTINGS = ("safety", "model", "task")
log = logging.getLogger("nightshift")
Texts = dict[str, list[str]]  # model -> an answer for each prompt


def external_inputs(ctx: Context) -> dict[str, str]:
    data = {f"data:{name}": sha256_of(Path(path)) for name, path in safety_data.files().items()}
    folder = Path(resolve(ctx.config.model.embedder))  # a hub id is no folder; its name is in the settings
    weights = {f"embedder:{path.name}": sha256_of(path) for path in sorted(folder.glob("*.safetensors"))}
    return data | weights | {"base": base_digest(ctx.config)}


def run(ctx: Context) -> Outcome:
    settings, model, alpha = ctx.config.safety, ctx.config.model, 1 - ctx.config.safety.confidence
    harmful, provoking = _prompts(ctx)
    texts, exposures = _answers(ctx, harmful + provoking)
    head = ToxicityHead(Embedder(model.embedder, model.threads), ctx.config.seed, settings.confidence)
    scores = {name: head.scores(said) for name, said in texts.items()}
    harms = {name: _harms(ctx, said[: len(harmful)], scores[name]) for name, said in texts.items()}
    toxicity = compare(
        scores[PRODUCTION].tolist(), scores[CANDIDATE].tolist(), settings.toxicity_margin, alpha, 1
    )
    refusal = compare(harms[PRODUCTION], harms[CANDIDATE], settings.refusal_margin, alpha, 1)
    learned = memorised(exposures, ALTERNATIVES + 1)
    exposed = learned.mean_bits if learned else 0.0
    extracted = sum(one.extracted for one in exposures)
    answer, reasons = assess_safety(
        head.quality.low >= settings.min_classifier_auc,
        toxicity.answer,
        refusal.answer,
        extracted,
        exposed,
        settings.max_exposure_bits,
    )
    reasons.append(_words(learned, extracted))
    written = _written(harmful + provoking, texts, scores)
    (ctx.out / "answers.json").write_text(written, encoding="utf-8")
    return Outcome(
        headline=f"{answer}: {1 - (refusal.candidate or 0):.0%} of harmful prompts refused or harmless "
        f"(production {1 - (refusal.production or 0):.0%}), "
        f"{extracted} of {len(exposures)} planted secrets given out",
        reasons=tuple(reasons),
        outputs={"answers": "answers.json"},
        metrics={
            "classifier_auc": (round(head.quality.auc, 6), "area"),
            "toxicity_change": (round(toxicity.difference or 0.0, 6), "score"),
            "mean_exposure": (round(exposed, 6), "bits"),
            "extracted_secrets": (float(extracted), "secrets"),
        },
        facts=SafetyFacts(
            classifier=ClassifierQuality(**rounded(asdict(head.quality))),
            toxicity=toxicity_facts(toxicity, scores[PRODUCTION].tolist(), scores[CANDIDATE].tolist(), alpha),
            harmful=harmful_facts(refusal, harms[PRODUCTION], harms[CANDIDATE], alpha),
            planted_secrets=tuple(exposures),
            mean_exposure_bits=round(exposed, 6),
            memorised=learned,
            answer=answer,
            reasons=tuple(reasons),
        ),
    )


def _prompts(ctx: Context) -> tuple[list[str], list[str]]:
    """Harmful requests, and toxic texts sent as if by a user. The seed chooses them."""
    settings, rng = ctx.config.safety, np.random.default_rng(ctx.config.seed)
    harmful, toxic = safety_data.harmful_prompts(), safety_data.toxic_texts()
    rendering = rendering_of(ctx.config)
    return (
        _drawn(harmful, settings.harmful_prompts, rendering, rng),
        _drawn(toxic, settings.provoking_prompts, rendering, rng),
    )


def _drawn(texts: list[str], count: int, rendering: Rendering, rng: np.random.Generator) -> list[str]:
    """At most `count` texts that fit into a prompt, in the given order."""
    order = rng.permutation(len(texts)).tolist()
    fit = (place for place in order if rendering.takes([{"role": "user", "content": texts[place]}]))
    return [texts[place] for place in sorted(islice(fit, count))]


def _answers(ctx: Context, prompts: list[str]) -> tuple[Texts, list[Exposure]]:
    """Both models' answers, and how far the candidate gives the planted secrets away."""
    planted = json.loads(ctx.read("curate", "canaries").read_text(encoding="utf-8"))
    conversations = [[{"role": "user", "content": prompt}] for prompt in prompts]
    models = ModelPair(
        ctx.config,
        ctx.facts(DecideFacts).baseline,
        ctx.read("train", "adapter"),
        ctx.facts(TrainFacts),
    )
    texts: Texts = {}
    exposures: list[Exposure] = []
    for name, engine in models:
        texts[name] = engine.generate(conversations, ctx.config.safety.max_new_tokens)
        log.info("safety: %s answered %d prompts", name, len(prompts))
        if name == CANDIDATE:
            exposures = [secret_exposure(engine, one, ctx.config.safety.secret_draws) for one in planted]
    return texts, exposures


def _words(learned: Memorised | None, extracted: int) -> str:
    """A sentence about the planted secrets, whatever the answer is."""
    if learned is None:
        return "no secrets were planted, so leaks were not looked for"
    compared = "above" if learned.beyond_chance else "below"
    return (
        f"planted secrets: {extracted} are given out; they stand out by {learned.mean_bits:.1f} bits on"
        f" average ({compared} the {learned.chance_limit_bits:.1f} of chance), the most exposed one by"
        f" {learned.most_exposed_bits:.1f}"
    )


def _harms(ctx: Context, texts: list[str], scores: np.ndarray) -> list[float]:
    """1 for each harmful answer, else 0."""
    labels = ctx.config.task.labels
    return [
        float(not refuses_or_is_harmless(t, labels, float(s))) for t, s in zip(texts, scores, strict=False)
    ]


def _written(prompts: list[str], texts: Texts, scores: dict[str, np.ndarray]) -> str:
    rows = [
        {"prompt": prompt}
        | {name: {"text": texts[name][i], "toxicity": round(float(scores[name][i]), 6)} for name in texts}
        for i, prompt in enumerate(prompts)
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)
