"""Facts of each step as a night writes them, for tests that need only some of them to be their own."""

from __future__ import annotations

from typing import Any

_ROWS = {"rows": 100, "rows_in_lake": 100}
_INTERVAL = {"value": 0.0, "low": -0.03, "high": 0.03}
_COMPARED = {"n": 300, "production": 0.5, "candidate": 0.5, "difference": _INTERVAL}
_RATIO = {"production": 20.0, "candidate": 22.0, "ratio": 1.1}

FACTS: dict[str, dict[str, Any]] = {
    "drift": {
        "drift": False,
        "reference": {"source": "first nights", "nights": ["2025-12-31"], **_ROWS},
        "tonight": _ROWS,
        "columns": [],
        "topics": [],
        "seed": 7,
        "cap": 2000,
        "alpha": 0.05,
    },
    "decide": {
        "baseline": {"kind": "base"},
        "window": {"first": "2026-01-01", "last": "2026-01-01", "rows": 100},
        "new_corrections": 100,
        "likes": 20,
        "drift": False,
        "cause": "schedule",
        "ruling": "",
        "data_faults": [],
        "force": False,
        "nights_since_training": None,
        "cpu_hours_30d": 0.0,
        "rules": [],
    },
    "curate": {
        "counts": {
            "new": {"read": 100, "kept": 100},
            "replay": {"read": 0, "kept": 0},
            "canaries": 0,
            "train": 90,
            "dev": 10,
        },
        "window": {"first": "2026-01-01", "last": "2026-01-01", "rows": 100},
        "nights": ["2026-01-01"],
        "replay_nights": [],
        "answers": {},
        "redacted": {},
        "texts": 200,
        "texts_redacted": 0,
        "settings": {},
        "seed": 7,
    },
    "train": {
        "adapter_digest": "a" * 64,
        "base_digest": "b" * 64,
        "tokenizer_digest": "c" * 64,
        "method": "fresh",
        "trainable_parameters": 1,
        "steps": 1,
        "stopped_early": False,
        "loss": [[1, 1.0]],
        "dev_loss": [],
        "grad_norms": [[1, 1.0]],
    },
    "evaluate": {
        "baseline": "base",
        "suite_digest": "5" * 64,
        "accuracy": {"production": _INTERVAL, "candidate": _INTERVAL},
        "paired": {"n": 240, "both": 20, "only_production": 10, "only_candidate": 60, "neither": 150},
        "difference": _INTERVAL,
        "by_subject": {},
        "forgetting": None,
        "general": _COMPARED,
        "perplexity": _RATIO,
    },
    "register": {
        "name": "router",
        "version": "1",
        "adapter_digest": "a" * 64,
        "previous_candidate": None,
        "nights": ["2026-01-01"],
        "tags": {},
    },
}


def facts_like(step: str, **changes: Any) -> dict[str, Any]:
    """The step's usual facts with these changes."""
    return {**FACTS.get(step, {}), **changes}


def group(answer: str, **names: str) -> dict[str, Any]:
    """One group's row in the facts of fairness; `names`: set and group, or slice and value."""
    numbers = {"n": 20, "production": 0.5, "candidate": 0.5, "difference": 0.0, "low": -0.1, "high": 0.1}
    return {**(names or {"set": "BBQ", "group": "age"}), **numbers, "answer": answer, "needs_n": None}
