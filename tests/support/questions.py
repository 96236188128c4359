"""Real questions with their department, and nights made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from functools import cache

import numpy as np
import pyarrow as pa

from pipelines.evaluation.packaged_data import jsonl
from tests.support.interactions import SYSTEM, make_rows

FILES = {
    "Anatomy": "Anatomy",
    "Biochemistry": "Biochemistry",
    "Dental": "Dental",
    "Gynaecology": "Gynaecology_Obstetrics",
    "Medicine": "Medicine",
    "Microbiology": "Microbiology",
    "Pathology": "Pathology",
    "Pediatrics": "Pediatrics",
    "Pharmacology": "Pharmacology",
    "Physiology": "Physiology",
    "Preventive Medicine": "Social_Preventive_Medicine",
    "Surgery": "Surgery",
}


@cache
def questions() -> dict[str, tuple[str, ...]]:
    """Department -> its distinct questions, sorted."""
    found = {}
    for label, name in FILES.items():
        rows = jsonl(f"MedMCQA/MedMCQA-Test/{name}.jsonl")
        found[label] = tuple(sorted({str(row["question"]).strip() for row in rows if row["question"]}))
    return found


def ask(n: int, seed: int, shares: Mapping[str, float] | None = None) -> list[tuple[str, str]]:
    """`n` distinct (department, question) pairs; `shares` are the departments' weights, equal by default."""
    rng = np.random.default_rng(seed)
    weights = np.array([(shares or {}).get(label, 0.0 if shares else 1.0) for label in FILES])
    wanted = rng.choice(len(FILES), n, p=weights / weights.sum())
    asked = []
    for place, label in enumerate(FILES):
        pool = questions()[label]
        picked = rng.permutation(len(pool))[: int((wanted == place).sum())]
        asked += [(label, pool[i]) for i in picked]
    return [asked[i] for i in rng.permutation(len(asked))]


def night_of_questions(night: date, n: int, seed: int, shares: Mapping[str, float] | None = None) -> pa.Table:
    """A night of real questions with correct feedback: 1 in 10 answers is right, 9 in 10 are rated."""
    rng = np.random.default_rng([seed, 1])
    asked = ask(n, seed, shares)
    right = rng.random(len(asked)) < 0.1
    rated = rng.random(len(asked)) < 0.9
    labels = list(FILES)
    answers = [
        label if ok else str(rng.choice([one for one in labels if one != label]))
        for (label, _), ok in zip(asked, right, strict=True)
    ]
    feedback = list(zip(asked, answers, rated, strict=True))
    return make_rows(
        night,
        len(asked),
        seed,
        messages=[
            [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
            for _, question in asked
        ],
        completion=answers,
        rating=[(1 if a == label else -1) if known else None for (label, _), a, known in feedback],
        correction=[label if known and a != label else None for (label, _), a, known in feedback],
        tokens_in=[len(json.dumps(question)) // 4 + 12 for _, question in asked],
        tokens_out=[1 + len(answer) // 5 for answer in answers],
    )
