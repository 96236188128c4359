"""What a judge says of tonight's candidate, once it was asked about people's choices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipelines.core.config import Config
from pipelines.core.conversations import with_system
from pipelines.core.facts.common import Interval
from pipelines.core.facts.judge import JudgeCost, JudgeFacts, JudgeProof
from pipelines.core.files import write_jsonl
from pipelines.evaluation.judges.ask import Asked, Pair, Verdict, ask
from pipelines.evaluation.judges.client import Budget
from pipelines.evaluation.judges.private import redacted
from pipelines.evaluation.judges.proof import prove_judge
from pipelines.evaluation.suite import Item
from pipelines.models.pair import CANDIDATE, PRODUCTION
from pipelines.policy.stats.intervals import bootstrap_mean

SUITE, EARLIER = "suite", "earlier"
SHOWN = 4  # words of the judge in the report
WON = {1: "the candidate", -1: "production"}


class Compare(NamedTuple):
    """A question with both answers. `source`: the suite, or earlier nights' questions of users."""

    name: str
    source: str
    messages: Sequence[Any]
    production: str
    candidate: str


@dataclass(frozen=True)
class Tonight:
    """The facts, their cost, each pair with its verdict, and sentences for people. Empty without a judge."""

    facts: JudgeFacts | None = None
    cost: JudgeCost | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    reasons: tuple[str, ...] = ()

    def written(self, out: Path) -> dict[str, str]:
        """Write the pairs into a folder; the output's name and file."""
        if self.facts is None:
            return {}
        write_jsonl(out / "judged.jsonl", self.rows)
        return {"judged": "judged.jsonl"}


def compared(
    source: str, items: Sequence[Item], given: Mapping[str, Sequence[str]], leave_out: Collection[str] = ()
) -> list[Compare]:
    """The items with both models' answers, but for those whose ids are left out."""
    asked = zip(items, given[PRODUCTION], given[CANDIDATE], strict=True)
    return [
        Compare(item["id"], source, item["messages"], production, candidate)
        for item, production, candidate in asked
        if item["id"] not in leave_out
    ]


def judge_tonight(config: Config, night: date, compare: Sequence[Compare]) -> Tonight:
    """First the proof, then the candidate, out of one budget. Personal data is replaced in both."""
    if not config.judge.is_on:
        return Tonight()
    budget = Budget(config.judge)
    proof, of_people = prove_judge(config, night, budget)
    system = config.task.system_prompt  # people's choices have it, too
    pairs = [Pair(with_system(one.messages, system), one.production, one.candidate) for one in compare]
    pairs = redacted(config, pairs)
    asked = ask(config, pairs, budget)
    facts = _facts(config, proof, asked, compare)
    cost = JudgeCost(
        requests=budget.requests,
        kept=of_people.kept + asked.kept,
        tokens_in=budget.tokens_in,
        tokens_out=budget.tokens_out,
    )
    rows = [_row(*one) for one in zip(compare, pairs, asked.verdicts, strict=True)]
    return Tonight(facts, cost, rows, _reasons(facts))


def _facts(config: Config, proof: JudgeProof, asked: Asked, compare: Sequence[Compare]) -> JudgeFacts:
    won = np.array([one.won for one in asked.verdicts if isinstance(one, Verdict)], dtype=float)
    words = [
        f"{WON[verdict.won]} is better: {verdict.words}"
        for one, verdict in zip(compare, asked.verdicts, strict=True)
        if isinstance(verdict, Verdict) and verdict.won and verdict.words and one.source == SUITE
    ]
    drawn = np.random.default_rng(config.seed).permutation(len(words))[:SHOWN]
    return JudgeFacts(
        model=config.judge.model,
        proof=proof,
        won=int((won > 0).sum()),
        lost=int((won < 0).sum()),
        tied=int((won == 0).sum()),
        unreadable=asked.unreadable,
        unjudged=asked.unjudged,
        max_unreadable=config.judge.max_unreadable,
        net_win=_net_win(config, won),
        stopped=asked.stopped,
        words=tuple(words[place] for place in sorted(drawn.tolist())),
    )


def _net_win(config: Config, won: np.ndarray) -> Interval | None:
    if not won.size:
        return None
    settings = config.evaluate
    found = bootstrap_mean(won, settings.bootstrap_samples, settings.confidence, config.seed)
    value, low, high = (round(float(number), 6) for number in found)
    return Interval(value=value, low=low, high=high)


def _row(one: Compare, pair: Pair, verdict: Verdict | str) -> dict[str, Any]:
    """As the judge read it. `won`: 1 the candidate, -1 production, 0 a tie, None no verdict."""
    won, words = (None, verdict) if isinstance(verdict, str) else (verdict.won, verdict.words)
    return {
        "id": one.name,
        "source": one.source,
        "messages": [dict(turn) for turn in pair.messages],
        "production": pair.one,
        "candidate": pair.other,
        "won": won,
        "words": words,
    }


def _reasons(facts: JudgeFacts) -> tuple[str, ...]:
    said = [f"The judge {facts.model} has not proved itself: {'; '.join(facts.proof.lacks)}."]
    left = [f"{facts.unjudged} pairs were not judged: {facts.stopped}."]
    return (*(said * (not facts.proof.is_proved)), *(left * (facts.unjudged > 0)))
