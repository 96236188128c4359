"""What the texts of a log say: its labels, its system prompt, its lengths in tokens. Pure."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.core.spelling import answer_form
from pipelines.operations.inspect.finding import Sizes

Cells = Mapping[str, Any]
MOST_LABELS = 40
LONGEST_LABEL = 100  # characters
COMMON = 5  # an answer that is a label comes this often, on average
NEARLY_ALL = 0.95  # of the rows with a system prompt have the one that is proposed
SIGNS_A_TOKEN = 4  # a rule of thumb; a sign of Chinese, Japanese or Korean is a token of its own
TURN_TOKENS = 8  # that a chat template adds
QUANTILE, SPARE = 0.99, 1.25
MOST_TOKENS = 8_192


def labels_of(rows: Sequence[Cells]) -> dict[str, int]:
    """The distinct answers, in their commonest spelling, where there are so few that they are labels."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        answer = (row["correction"] or row["completion"]).strip()
        if key := answer_form(answer):
            spellings[key][answer] += 1
    total = sum(one.total() for one in spellings.values())
    if not 1 < len(spellings) <= min(MOST_LABELS, total // COMMON):
        return {}
    labels = {one.most_common(1)[0][0]: one.total() for one in spellings.values()}
    if max(map(len, labels)) > LONGEST_LABEL:
        return {}
    return dict(sorted(labels.items(), key=lambda label: -label[1]))


def system_prompt_of(rows: Sequence[Cells]) -> tuple[str, list[str]]:
    """The system prompt that (nearly) all rows have, or "" and a sentence that says why not."""
    firsts = [row["messages"][0] for row in rows]
    prompts = Counter(turn["content"] for turn in firsts if turn["role"] == "system")
    if not prompts:
        return "", []
    (prompt, times), total = prompts.most_common(1)[0], prompts.total()
    if times < NEARLY_ALL * total:
        return "", [
            f"The system prompts differ: {total:,} rows have {len(prompts):,} of them, the commonest "
            f"{times:,} times. "
            "Each row keeps its own, and task.system_prompt stays empty."
        ]
    if total < NEARLY_ALL * len(rows):
        return "", [
            f"Only {total:,} of {len(rows):,} rows have a system prompt. task.system_prompt stays "
            "empty, as it is "
            "put before every conversation that has none. If the model always saw it, write it there."
        ]
    return (prompt if prompt.strip() else ""), []


def sizes_of(rows: Sequence[Cells], labels: Mapping[str, int]) -> Sizes:
    """Limits that nearly all rows fit into."""
    if not rows:
        return Sizes(1_024, 256, 0.0)
    prompts = [sum(tokens(turn["content"]) + TURN_TOKENS for turn in row["messages"]) for row in rows]
    answers = [max(tokens(row["completion"]), tokens(row["correction"] or "")) for row in rows]
    prompt = min(MOST_TOKENS, max(256, _up(SPARE * _quantile(prompts), 128)))
    longest = 2 * max(map(tokens, labels)) if labels else SPARE * _quantile(answers)
    answer = min(MOST_TOKENS // 2, _up(longest, 8) if labels else max(64, _up(longest, 32)))
    long = sum(one > prompt or other > answer for one, other in zip(prompts, answers, strict=True))
    return Sizes(prompt, answer, round(long / len(rows), 4))


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    wide = 0 if text.isascii() else sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return wide + math.ceil((len(text) - wide) / SIGNS_A_TOKEN)


def _quantile(numbers: Sequence[int]) -> int:
    return sorted(numbers)[math.ceil(QUANTILE * len(numbers)) - 1]


def _up(number: float, step: int) -> int:
    return step * math.ceil(number / step)
