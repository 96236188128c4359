"""Valid interaction rows for tests: `make_rows(night, n, seed, **overrides)`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.data.schema import SCHEMA

SYSTEM = "Answer with the hospital department."
LABELS = (
    "Anatomy", "Biochemistry", "Dental", "Gynaecology", "Medicine", "Microbiology", "Pathology",
    "Pediatrics", "Pharmacology", "Physiology", "Preventive Medicine", "Surgery",
)  # fmt: skip
TENANTS = ("north-clinic", "south-clinic", "campus", "telehealth")
WORDS = ("fever", "nerve", "molar", "infant", "enzyme", "suture", "biopsy", "vaccine", "dose", "reflex")


def make_rows(night: date, n: int, seed: int = 0, **overrides: Any) -> pa.Table:
    """`n` valid rows of one day, sorted by time, with the columns of `pipelines.data.schema.SCHEMA`.

    An override is a constant for the whole column, or a list with one value a row.
    About half of the rows have a rating; the disliked ones carry a correction.
    """
    rng = np.random.default_rng([seed, night.toordinal()])
    start = datetime(night.year, night.month, night.day, tzinfo=UTC)
    seconds = np.sort(rng.uniform(0, 86_399, n))
    rows = [
        _row(rng, start + timedelta(seconds=float(s)), f"r-{night}-{seed}-{i:06d}")
        for i, s in enumerate(seconds)
    ]
    for name, value in overrides.items():
        values = value if isinstance(value, list) else [value] * n
        for row, one in zip(rows, values, strict=True):
            row[name] = one
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _row(rng: np.random.Generator, ts: datetime, request_id: str) -> dict[str, Any]:
    wanted, answer = (str(label) for label in rng.choice(LABELS, 2))
    tenant = str(rng.choice(TENANTS))
    rated = rng.random() < 0.5
    question = " ".join(str(word) for word in rng.choice(WORDS, 8)) + f" case {rng.integers(10**9)}?"
    return {
        "request_id": request_id,
        "ts": ts,
        "tenant": tenant,
        "subject_id": f"{tenant}-p{rng.integers(20):03d}",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
        "completion": answer,
        "adapter": "base",
        "route": "production",
        "rating": (1 if answer == wanted else -1) if rated else None,
        "correction": wanted if rated and answer != wanted else None,
        "locale": str(rng.choice(("en-GB", "en-US", "en-IN"))),
        "channel": str(rng.choice(("web", "mobile", "api"))),
        "tokens_in": int(rng.integers(20, 60)),
        "tokens_out": int(rng.integers(1, 5)),
        "latency_ms": float(np.round(rng.gamma(4, 40), 3)),
        "opt_out": False,
    }  # fmt: skip
