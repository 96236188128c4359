"""Is the candidate safe? Harmful prompts, toxic answers, and planted secrets that it must not give away.

Production and candidate answer the same prompts under the task's own system prompt. The step states its
answer; the gate judges. The rules are pipelines/policy/night/safety.py and, for "worse", policy/fairness.py.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.files import sha256_of
from pipelines.data.embedder import Embedder, resolve
from pipelines.evaluation import safety_data
from pipelines.evaluation.toxicity import ToxicityHead
from pipelines.models.engine import Engine
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair, base_digest
from pipelines.policy.night.fairness import GroupAnswer, compare
from pipelines.policy.night.safety import answer_of, exposure, refuses_or_is_harmless
from pipelines.policy.stats.paired import mean_limits
from pipelines.runner import Context, Outcome

SETTINGS = ("safety", "model", "task")
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    data = {f"data:{name}": sha256_of(Path(path)) for name, path in safety_data.files().items()}
    folder = Path(resolve(ctx.config.model.embedder))  # a hub id is no folder; its name is in the settings
    weights = {f"embedder:{path.name}": sha256_of(path) for path in sorted(folder.glob("*.safetensors"))}
    return data | weights | {"base": base_digest(ctx.config)}


def run(ctx: Context) -> Outcome:
    settings, alpha = ctx.config.safety, 1 - ctx.config.safety.confidence
    harmful, provoking = _prompts(ctx)
    planted = json.loads(ctx.read("curate", "canaries").read_text(encoding="utf-8"))
    said, canaries = _listen(ctx, harmful + provoking, planted)
    head = ToxicityHead(
        Embedder(ctx.config.model.embedder, ctx.config.model.threads), ctx.config.seed, settings.confidence
    )
    scores = {name: head.scores(texts) for name, texts in said.items()}
    harms = {name: _harmful(ctx, said[name][: len(harmful)], scores[name]) for name in said}
    toxicity = compare(
        scores[PRODUCTION].tolist(), scores[CANDIDATE].tolist(), settings.toxicity_margin, alpha, 1
    )
    refusal = compare(harms[PRODUCTION], harms[CANDIDATE], settings.refusal_margin, alpha, 1)
    exposed = float(np.mean([c["exposure_bits"] for c in canaries])) if canaries else 0.0
    answer, reasons = answer_of(
        head.quality.low >= settings.min_classifier_auc,
        toxicity.answer,
        refusal.answer,
        sum(c["extracted"] for c in canaries),
        exposed,
        settings.max_exposure_bits,
    )
    if not canaries:
        reasons.append("no secrets were planted, so leaks were not looked for")
    (ctx.out / "answers.json").write_text(_answers(harmful + provoking, said, scores), encoding="utf-8")
    return Outcome(
        headline=f"{answer}: {1 - (refusal.candidate or 0):.0%} of harmful prompts refused or harmless "
        f"(production {1 - (refusal.production or 0):.0%}), secrets exposed by {exposed:.1f} bits",
        reasons=tuple(reasons),
        outputs={"answers": "answers.json"},
        metrics={
            "classifier_auc": (round(head.quality.auc, 6), "area"),
            "toxicity_change": (round(toxicity.difference or 0.0, 6), "score"),
            "mean_exposure": (round(exposed, 6), "bits"),
        },
        facts={
            "classifier": _round(asdict(head.quality)),
            "toxicity": _summary(toxicity, scores, alpha),
            "harmful": _refusals(refusal, harms, alpha),
            "canaries": canaries,
            "mean_exposure_bits": round(exposed, 6),
            "answer": answer,
            "reasons": reasons,
        },
    )


def _prompts(ctx: Context) -> tuple[list[str], list[str]]:
    """Harmful requests, and toxic texts sent as if by a user; which ones is frozen by the seed."""
    settings, rng = ctx.config.safety, np.random.default_rng(ctx.config.seed)
    harmful, toxic = safety_data.harmful_prompts(), safety_data.toxic_texts()
    picked = sorted(rng.permutation(len(harmful))[: settings.harmful_prompts].tolist())
    provoking = sorted(rng.permutation(len(toxic))[: settings.provoking_prompts].tolist())
    return [harmful[i] for i in picked], [toxic[i] for i in provoking]


def _listen(
    ctx: Context, prompts: list[str], planted: list[dict[str, Any]]
) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """Both models' answers, and how far the candidate gives the planted secrets away."""
    system = (
        [{"role": "system", "content": ctx.config.task.system_prompt}]
        if ctx.config.task.system_prompt
        else []
    )
    conversations = [[*system, {"role": "user", "content": prompt}] for prompt in prompts]
    decided, trained = ctx.inputs["decide"].facts, ctx.inputs["train"].facts
    models = ModelPair(ctx.config, decided["baseline"], ctx.read("train", "adapter"), trained["base_digest"])
    said, canaries = {}, []
    for name, engine in models:
        said[name] = engine.generate(conversations, ctx.config.safety.max_new_tokens)
        log.info("safety: %s answered %d prompts", name, len(prompts))
        if name == CANDIDATE:
            canaries = [_canary(engine, canary) for canary in planted]
    return said, canaries


def _canary(engine: Engine, canary: dict[str, Any]) -> dict[str, Any]:
    prompt = engine.chat_text(canary["prompt"])
    candidates = [canary["secret"], *canary["alternatives"]]
    sums, _ = engine.logprobs([prompt] * len(candidates), candidates)
    rank, bits = exposure(float(sums[0]), sums[1:].tolist())
    printed = engine.generate([canary["prompt"]], max_new_tokens=2 * len(canary["secret"]))[0]
    return {"exposure_bits": round(bits, 6), "rank": rank, "extracted": canary["secret"] in printed}


def _harmful(ctx: Context, texts: list[str], scores: np.ndarray) -> list[float]:
    labels = ctx.config.task.labels
    return [
        float(not refuses_or_is_harmless(t, labels, float(s))) for t, s in zip(texts, scores, strict=False)
    ]


def _summary(toxicity: GroupAnswer, scores: dict[str, np.ndarray], alpha: float) -> dict[str, Any]:
    """Mean scores with two-sided intervals; the difference with the limits its answer stands on."""
    means = {name: _mean(values.tolist(), alpha) for name, values in scores.items()}
    difference = {"value": toxicity.difference, "low": toxicity.low, "high": toxicity.high}
    return means | {"difference": _round(difference), "answer": toxicity.answer, "n": toxicity.n}


def _refusals(refusal: GroupAnswer, harms: dict[str, list[float]], alpha: float) -> dict[str, Any]:
    shares = {
        f"{name}_refusal_or_safe": _mean([1 - harm for harm in values], alpha)
        for name, values in harms.items()
    }
    growth = _round({"value": refusal.difference, "low": refusal.low, "high": refusal.high})
    return shares | {"n": refusal.n, "growth_of_harm": growth, "answer": refusal.answer}


def _mean(values: list[float], alpha: float) -> dict[str, Any]:
    low, high = mean_limits(values, alpha / 2, alpha / 2, bounds=(0, 1))
    return _round({"value": float(np.mean(values)), "low": low, "high": high})


def _round(numbers: dict[str, Any]) -> dict[str, Any]:
    return {
        name: round(value, 6) + 0.0 if isinstance(value, float) else value for name, value in numbers.items()
    }


def _answers(prompts: list[str], said: dict[str, list[str]], scores: dict[str, np.ndarray]) -> str:
    rows = [
        {"prompt": prompt}
        | {name: {"text": said[name][i], "toxicity": round(float(scores[name][i]), 6)} for name in said}
        for i, prompt in enumerate(prompts)
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)
