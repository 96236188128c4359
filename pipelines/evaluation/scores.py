"""What `evaluate` measures of a model, and how two models compare on the same items."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from statistics import median

import numpy as np

from pipelines.core.facts.common import PairedCounts, Ratio
from pipelines.core.facts.evaluate import SubjectAccuracy
from pipelines.evaluation.packaged_data import boolq
from pipelines.evaluation.suite import Item
from pipelines.evaluation.tasks import Task
from pipelines.models.engine import Engine
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.policy.night.influence import Told

MAX_PASSAGE_CHARS = 400  # short passages keep the general suite affordable on a laptop
Answers = dict[str, list[str]]  # production and candidate -> (n,) on the same items
Scores = dict[str, np.ndarray]  # production and candidate -> (n,) on the same items
Question = tuple[str, str, bool]  # passage, question, answer


def general_questions(count: int) -> list[Question]:
    """A frozen slice of BoolQ: the first `count` short passages in the order of their hash."""
    short = [row for row in boolq() if len(row[0]) <= MAX_PASSAGE_CHARS]
    return sorted(short, key=lambda row: hashlib.sha256((row[0] + row[1]).encode()).digest())[:count]


def score(task: Task, given: Sequence[str], items: Sequence[Item]) -> np.ndarray:
    """(n,) how good each answer to an item is, in [0, 1], to three digits."""
    return np.round(task.score(given, [item["answer"] for item in items]), 3) if items else np.zeros(0)


def right(given: Sequence[str], items: Sequence[Item], task: Task) -> np.ndarray:
    """(n,) 1 where the answer is the item's, else 0."""
    asked = zip(given, items, strict=True)
    return np.array([float(task.form(answer) == task.form(item["answer"])) for answer, item in asked])


def told(given: Answers, items: Sequence[Item], task: Task) -> list[Told]:
    """What each rated item says of the difference of the two models, and who rated it."""
    asked = zip(given[PRODUCTION], given[CANDIDATE], items, strict=True)
    return [
        Told(_outcome(task.form(before), task.form(after), item, task), item["tenant"], item["person"])
        for before, after, item in asked
    ]


def _outcome(production: str, candidate: str, item: Item, task: Task) -> str:
    """A field of `PairedCounts`, or of `Disliked` where people do not tell of both answers."""
    if item["answer"] is None:
        return _may_be(production, candidate, task.form(item["wrong"]))
    answer = task.form(item["answer"])
    if not task.is_closed:  # another text than the right one may be right too
        return _may_be(candidate, production, answer)
    right = (production == answer, candidate == answer)
    return {(True, True): "both", (True, False): "only_production", (False, True): "only_candidate"}.get(
        right, "neither"
    )


def _may_be(production: str, candidate: str, wrong: str) -> str:
    if production == candidate:
        return "same"
    return {production: "not_lost", candidate: "not_won"}.get(wrong, "open")


def belief(engine: Engine, questions: Sequence[Question]) -> np.ndarray:
    """(n,) probability of the right one of ` yes` and ` no`; the prompt is lm-evaluation-harness's BoolQ.

    A probability shows a loss with fewer items than the share of right answers does: a small model's yes
    turns into a no at the slightest change of its weights.
    """
    prompts = [f"{passage}\nQuestion: {question}?\nAnswer:" for passage, question, _ in questions]
    scores, _ = engine.logprobs(prompts * 2, [" yes"] * len(questions) + [" no"] * len(questions))
    odds = scores[: len(questions)] - scores[len(questions) :]
    return 1 / (1 + np.exp(np.where([answer for _, _, answer in questions], -odds, odds)))


def perplexity(engine: Engine, passages: Sequence[str]) -> float:
    """exp of the mean negative log-probability of a token."""
    scores, tokens = engine.logprobs([""] * len(passages), passages)
    return math.exp(-float(scores.sum()) / float(tokens.sum()))


def latency(models: ModelPair, items: Sequence[Item], task: Task) -> dict[str, float]:
    """Median milliseconds of an answer asked alone. The models take turns, so that load hits both."""
    asked = {name: models.answering(name) for name in (PRODUCTION, CANDIDATE)}
    spent: dict[str, list[float]] = {name: [] for name in asked}
    for item in (items[0], *items):  # the first warms up
        for name, answering in asked.items():
            models.answering_as(name)
            started = time.perf_counter()
            task.answer(answering, item["messages"])
            spent[name].append(1000 * (time.perf_counter() - started))
    return {name: median(values[1:]) for name, values in spent.items()}


def paired_counts(scores: Scores) -> PairedCounts:
    """How many items each model, both or neither answered rightly."""
    before, after = scores[PRODUCTION] == 1, scores[CANDIDATE] == 1
    return PairedCounts(
        n=len(before),
        both=int((before & after).sum()),
        only_production=int((before & ~after).sum()),
        only_candidate=int((~before & after).sum()),
        neither=int((~before & ~after).sum()),
    )


def paired_scores(scores: Scores) -> PairedCounts:
    """The same for scores between 0 and 1."""
    changes = np.round(1000 * (scores[CANDIDATE] - scores[PRODUCTION])).astype(int)
    counts = Counter(changes.tolist())
    return PairedCounts(
        n=len(changes),
        only_production=int((changes < 0).sum()),
        only_candidate=int((changes > 0).sum()),
        neither=counts[0],
        changes=tuple(sorted(counts.items())),
    )


def by_subject(items: Sequence[Item], scores: Scores) -> dict[str, SubjectAccuracy]:
    subjects = np.array([item["subject"] for item in items])
    found = {}
    for subject in sorted(set(subjects.tolist())):
        own = subjects == subject
        means = {name: round(float(values[own].mean()), 6) for name, values in scores.items()}
        found[subject] = SubjectAccuracy(
            n=int(own.sum()), production=means[PRODUCTION], candidate=means[CANDIDATE]
        )
    return found


def ratio(values: dict[str, float]) -> Ratio:
    """Both values and candidate over production, to four decimals."""
    before, after = values[PRODUCTION], values[CANDIDATE]
    return Ratio(production=round(before, 4), candidate=round(after, 4), ratio=round(after / before, 4))
