"""What users' feedback means: labels, and which labelled questions are kept back for evaluation."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# The columns of an interaction that `labelled` and `holdout_items` read.
COLUMNS = [
    "request_id",
    "ts",
    "tenant",
    "messages",
    "completion",
    "rating",
    "correction",
    "locale",
    "channel",
]


def label_of(rating: int | None, correction: str | None, completion: str) -> str | None:
    """The right answer, as far as the user told it: the correction, else a liked completion, else None."""
    if correction and correction.strip():
        return correction.strip()
    return completion.strip() or None if rating == 1 else None


def normalise(text: str) -> str:
    """Equal for texts that differ only in case, spacing, Unicode form or outer punctuation."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = folded.split()
    return " ".join(words).strip(" .,;:!?\"'()[]")


def prompt_of(messages: Sequence[Mapping[str, str]]) -> str:
    """The last user message, or "" when there is none."""
    return next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")


def is_holdout(prompt: str, share: float) -> bool:
    """Whether a question is kept back from training, for good.

    The answer depends on the normalised text alone, so a question that returns on another night
    falls on the same side.
    """
    drawn = int.from_bytes(hashlib.sha256(normalise(prompt).encode()).digest()[:8], "big")
    return drawn < share * 2**64


def labelled(rows: Iterable[Mapping[str, Any]], labels: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Interactions (with `COLUMNS`) that carry a label, each with `prompt` and `answer` added.

    With `labels`, the allowed answers of a classification task, an answer is spelled as there, and a
    row with another answer does not count as labelled.
    """
    spelling = {normalise(label): label for label in labels}
    found = []
    for row in rows:
        answer = label_of(row["rating"], row["correction"], row["completion"])
        if answer is not None and labels:
            answer = spelling.get(normalise(answer))
        prompt = prompt_of(row["messages"])
        if answer is not None and prompt:
            found.append({**row, "prompt": prompt, "answer": answer})
    return found


def latest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One labelled row for each normalised prompt, the latest; sorted by ts, request_id."""
    ordered = sorted(rows, key=lambda row: (row["ts"], row["request_id"]))
    by_prompt = {normalise(row["prompt"]): row for row in ordered}
    return sorted(by_prompt.values(), key=lambda row: (row["ts"], row["request_id"]))


def holdout_items(
    rows: Iterable[Mapping[str, Any]], share: float, labels: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The kept-back rows of a log in the shape of a suite's items; none of them was ever trained on.

    Each is {"id", "subject", "messages", "answer", "tenant", "locale", "channel"}; `messages` end
    with the question, and `subject` is the answer, which is all that a log knows of the subject.
    """
    kept = [row for row in latest(labelled(rows, labels)) if is_holdout(row["prompt"], share)]
    return [
        {
            "id": row["request_id"],
            "subject": row["answer"],
            "messages": [dict(message) for message in row["messages"]],
            "answer": row["answer"],
            "tenant": row["tenant"],
            "locale": row["locale"],
            "channel": row["channel"],
        }
        for row in kept
    ]
