"""Is the candidate safe? Harmful prompts, toxic answers, and planted secrets that it must not give away.

Production and candidate answer the same prompts under the task's own system prompt. The rules are in
pipelines/policy/night/safety.py and harm.py. This step reports, and the gate decides.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.safety import ClassifierQuality, Exposure, Memorised, SafetyFacts
from pipelines.core.facts.train import TrainFacts
from pipelines.core.files import sha256_of
from pipelines.evaluation import safety_data
from pipelines.evaluation.judged_answers import judged_answers
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.leaks import memorised, secret_exposure
from pipelines.evaluation.safety_judge import Judge, judge_digests, judge_of, unread
from pipelines.evaluation.tasks import task_of
from pipelines.models.base import base_digest
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.models.rendering import Rendering, rendering_of
from pipelines.models.served import answered_by
from pipelines.policy.night.examples import ALTERNATIVES
from pipelines.policy.night.harm import Judged, floor_of_harm, growth_of_harm, harm_of, score_of
from pipelines.policy.night.safety import assess_safety
from pipelines.policy.night.safety_facts import harmful_facts, rounded, toxicity_facts
from pipelines.runner import Context, Outcome

SETTINGS = ("safety", "model", "task")
log = logging.getLogger("nightshift")
Answers = dict[str, list[Judged]]  # model -> an answer for each prompt


def external_inputs(ctx: Context) -> dict[str, str]:
    data = {f"data:{name}": sha256_of(Path(path)) for name, path in safety_data.files().items()}
    data |= judge_digests(ctx.config)
    return data | answered_by(ctx.config) | {"base": base_digest(ctx.config)}


def run(ctx: Context) -> Outcome:
    settings, alpha = ctx.config.safety, 1 - ctx.config.safety.confidence
    harmful, provoking = _prompts(ctx)
    judge = judge_of(ctx.config)
    qualities, known = judge.qualities, judge.languages
    judged, exposures = _answers(ctx, harmful + provoking, judge)
    same = [one.text == other.text for one, other in zip(*judged.values(), strict=True)]
    labels = ctx.config.task.labels
    scores = {name: [score_of(one, labels, known) for one in answers] for name, answers in judged.items()}
    toxicity = growth_of_harm(scores[PRODUCTION], scores[CANDIDATE], same, settings.toxicity_margin, alpha)
    harms = {
        name: [harm_of(one, labels, known) for one in answers[: len(harmful)]]
        for name, answers in judged.items()
    }
    refusal = growth_of_harm(
        harms[PRODUCTION], harms[CANDIDATE], same[: len(harmful)], settings.refusal_margin, alpha
    )
    floor = floor_of_harm(harms[CANDIDATE], settings.max_harmful, alpha)
    learned = memorised(exposures, ALTERNATIVES + 1)
    exposed = learned.mean_bits if learned else 0.0
    extracted = sum(one.extracted for one in exposures)
    answer, reasons = assess_safety(
        min(one.low for one in qualities) >= settings.min_classifier_auc,
        toxicity.answer,
        refusal.answer,
        floor,
        extracted,
        exposed,
        settings.max_exposure_bits,
    )
    foreign = unread(judged[CANDIDATE], known)
    reasons += [judge.remark] if judge.remark else []
    reasons += [_unread_words(foreign, len(judged[CANDIDATE]))] if foreign else []
    reasons.append(_words(learned, extracted))
    written = _written(harmful + provoking, judged)
    (ctx.out / "answers.json").write_text(written, encoding="utf-8")
    harmless = {name: 1 - fmean(one.most for one in found) for name, found in harms.items()}
    return Outcome(
        headline=f"{answer}: {harmless[CANDIDATE]:.0%} of harmful prompts refused or harmless "
        f"(production {harmless[PRODUCTION]:.0%}), "
        f"{extracted} of {len(exposures)} planted secrets given out",
        reasons=tuple(reasons),
        outputs={"answers": "answers.json"},
        metrics={
            "classifier_auc": (round(min(one.low for one in qualities), 6), "area"),
            "toxicity_change": (round(toxicity.difference or 0.0, 6), "score"),
            "mean_exposure": (round(exposed, 6), "bits"),
            "extracted_secrets": (float(extracted), "secrets"),
        },
        facts=SafetyFacts(
            classifier=ClassifierQuality(**rounded(asdict(qualities[0]))),
            refusals=ClassifierQuality(**rounded(asdict(qualities[1]))),
            toxicity=toxicity_facts(toxicity, scores[PRODUCTION], scores[CANDIDATE], alpha),
            harmful=harmful_facts(refusal, harms[PRODUCTION], harms[CANDIDATE], floor[0], alpha),
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


def _answers(ctx: Context, prompts: list[str], judge: Judge) -> tuple[Answers, list[Exposure]]:
    """Both models' answers, and how far the candidate gives the planted secrets away."""
    planted = json.loads(ctx.read("curate", "canaries").read_text(encoding="utf-8"))
    models = ModelPair(
        ctx.config,
        ctx.facts(DecideFacts).baseline,
        ctx.read("train", "adapter"),
        ctx.facts(TrainFacts),
        ctx.step,
    )
    ctx.ends.callback(models.close)
    answers: Answers = {}
    exposures: list[Exposure] = []
    for name, engine in models:
        kept = KeptAnswers(
            ctx.config, engine, models.digests[name], ctx.step, answering=models.answering(name)
        )
        answers[name] = judged_answers(kept, prompts, judge, task_of(ctx.config), ctx.config)
        log.info("safety: %s answered %d prompts", name, len(prompts))
        if name == CANDIDATE:
            exposures = [secret_exposure(engine, one, ctx.config.safety.secret_draws) for one in planted]
    return answers, exposures


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


def _unread_words(foreign: Counter[str], answers: int) -> str:
    named = ", ".join(f"{language} {count}" for language, count in foreign.most_common(5))
    return f"{foreign.total()} of {answers} answers are in a language that the judges do not know ({named})"


def _written(prompts: list[str], judged: dict[str, list[Judged]]) -> str:
    rows = [
        {"prompt": prompt} | {name: _shown(answers[i]) for name, answers in judged.items()}
        for i, prompt in enumerate(prompts)
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)


def _shown(answer: Judged) -> dict[str, Any]:
    return rounded(asdict(answer))
