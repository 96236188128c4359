"""A log as a new user has it: OpenAI-format JSONL of requests and answers, and a CSV of thumbs beside it."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.questions import questions

SYSTEM = "Answer with the hospital department."
TENANTS = ("north-clinic", "campus", "telehealth")
SHARES = (0.6, 0.3, 0.1)  # of the rows, by tenant
RATED, RIGHT = 0.5, 0.6  # shares: of rows that get a thumb, of answers that are right


def write_log(
    folder: Path, day: date, rows: int, labels: tuple[str, ...], seed: int = 0
) -> tuple[Path, Path]:
    """`chat.jsonl` and `thumbs.csv` in `folder`: `rows` answers of one day (UTC), about half of them rated.

    Questions are real (MedMCQA, by department). A user who dislikes an answer says nothing more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, day.toordinal()])
    pool = [(question, label) for label in labels for question in questions()[label]]
    chat, thumbs = [], []
    start = int(np.datetime64(day, "s").astype(int))
    for number, at in enumerate(sorted(rng.integers(0, 86_400, rows).tolist())):
        question, label = pool[int(rng.integers(len(pool)))]
        answer = label if rng.random() < RIGHT else str(rng.choice([x for x in labels if x != label]))
        chat.append(_exchange(rng, number, start + at, question, answer))
        if rng.random() < RATED:
            rated_at = str(np.datetime64(start + at + int(rng.integers(5, 600)), "s")) + "Z"
            thumbs.append((chat[-1]["id"], "up" if answer == label else "down", rated_at))
    log, rated = folder / "chat.jsonl", folder / "thumbs.csv"
    log.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chat), encoding="utf-8")
    with rated.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("completion_id", "thumb", "rated_at"), *thumbs])
    return log, rated


def _exchange(rng: np.random.Generator, number: int, at: int, question: str, answer: str) -> dict[str, Any]:
    """A stored chat completion: what was asked, and the answer as OpenAI's API gives it."""
    words = len(question.split())
    return {
        "id": f"chatcmpl-{rng.integers(16**12):012x}{number:06d}",
        "object": "chat.completion",
        "created": at,
        "model": "gpt-4o-mini",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": words + 12, "completion_tokens": 2, "total_tokens": words + 14},
        "metadata": {"tenant": str(rng.choice(TENANTS, p=SHARES)), "user": f"u{rng.integers(300):03d}"},
    }
