"""Ask a judge about pairs of answers, each in both orders, as far as the budget goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipelines.core.config import Config
from pipelines.evaluation.judges.client import Budget, JudgeClient, NoReply, Stopped
from pipelines.evaluation.judges.prompt import Reply, messages, read_reply
from pipelines.evaluation.judges.verdicts import KeptReplies, Messages, Question

AT_ONCE = 4  # pairs of a round for each connection; a round in which nothing is judged is the last
FOR_SECOND = {"1": -1, "2": 1, "tie": 0}
UNREADABLE = "a reply could not be read"


class Pair(NamedTuple):
    """Two answers to the same conversation."""

    messages: Messages
    one: str
    other: str


class Verdict(NamedTuple):
    """`won`: 1 where `other` is better in both orders, -1 where `one` is, else 0.

    `first`: 1 where the first answer was taken in both orders, -1 where the second was, else between.
    """

    won: int
    first: float
    words: str = ""


@dataclass(frozen=True)
class Asked:
    """A verdict for each pair, or why there is none. `kept`: replies of earlier runs."""

    verdicts: list[Verdict | str]
    kept: int

    @property
    def unreadable(self) -> int:
        return sum(one == UNREADABLE for one in self.verdicts)

    @property
    def unjudged(self) -> int:
        return len(self._open)

    @property
    def stopped(self) -> str:
        """Why pairs were not judged; of several reasons the most frequent one."""
        return max(sorted(set(self._open)), key=self._open.count, default="")

    @property
    def _open(self) -> list[str]:
        return [one for one in self.verdicts if isinstance(one, str) and one != UNREADABLE]


def ask(config: Config, pairs: Sequence[Pair], budget: Budget) -> Asked:
    """Judge the pairs. Raises InputError where the key cannot be read; a server that fails is told of."""
    kept = KeptReplies(config)
    known = kept.read(kept.key(question) for pair in pairs for question in _orders(pair))
    found: list[Verdict | str] = [_without_asking(pair, kept, known) for pair in pairs]
    left = [place for place, one in enumerate(found) if isinstance(one, str)]
    left = [left[place] for place in np.random.default_rng(config.seed).permutation(len(left))]
    if left:
        with JudgeClient(config, budget) as client, ThreadPoolExecutor(config.judge.concurrency) as threads:
            for some in _rounds(left, AT_ONCE * config.judge.concurrency):
                answers = threads.map(lambda place: _judge(pairs[place], client, kept, known, config), some)
                for place, answer in zip(some, answers, strict=True):
                    found[place] = answer
                if all(isinstance(found[place], str) for place in some):
                    break
    why = next((one for one in found if isinstance(one, str) and one), "")
    return Asked([one or f"nothing was judged any more: {why}" for one in found], len(known))


def _orders(pair: Pair) -> tuple[Question, Question]:
    return Question(pair.messages, pair.one, pair.other), Question(pair.messages, pair.other, pair.one)


def _rounds(places: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (places[start : start + size] for start in range(0, len(places), size))


def _without_asking(pair: Pair, kept: KeptReplies, known: dict[str, Reply]) -> Verdict | str:
    """The verdict on equal answers, or on a pair whose replies were kept; "" where it has to be asked."""
    if pair.one.strip() == pair.other.strip():
        return Verdict(0, 0.0)
    replies = [known.get(kept.key(question)) for question in _orders(pair)]
    return "" if None in replies else in_both_orders(replies)


def _judge(
    pair: Pair, client: JudgeClient, kept: KeptReplies, known: dict[str, Reply], config: Config
) -> Verdict | str:
    """The verdict, or why there is none."""
    replies = []
    for question in _orders(pair):
        key = kept.key(question)
        reply = known.get(key)
        if reply is None:
            asked = messages(config.judge.rubric, *question)
            try:
                reply = read_reply(client.reply(asked))
            except (NoReply, Stopped) as error:
                return str(error)
            if reply is None:
                return UNREADABLE
            kept.keep(key, reply)
        replies.append(reply)
    return in_both_orders(replies)


def in_both_orders(replies: Sequence[Reply | None]) -> Verdict:
    """Both orders as one: where they disagree, it is a tie."""
    (a, a_words), (b, b_words) = (reply for reply in replies if reply)
    if FOR_SECOND[a] == -FOR_SECOND[b]:
        return Verdict(FOR_SECOND[a], 0.0, a_words or b_words)
    return Verdict(0, -(FOR_SECOND[a] + FOR_SECOND[b]) / 2, "")
