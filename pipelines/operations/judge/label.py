"""`nightshift judge label RUN_ID`: a person compares some of a night's pairs, and sees not whose they are.

The pairs are drawn at random by the seed, so the labels speak for all of them, and prediction-powered
inference joins them with the judge's verdicts. Labels are choices of people, which prove the judge, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.core.files import read_jsonl
from pipelines.core.tools import turn_text
from pipelines.evaluation.judges.ask import Pair
from pipelines.evaluation.judges.choices import comparisons, keep_comparison
from pipelines.evaluation.judges.verdicts import Messages
from pipelines.operations.inspect.printable import printable
from pipelines.operations.judge.prove import require_judge
from pipelines.policy.stats.prediction_powered import LEAST_LABELS, prediction_powered_mean
from pipelines.stores import open_run

FIRST, SECOND, TIE, END = "1", "2", "t", "q"
ASK = "Better: 1, 2, t for a tie, q to end? "
Rows = Sequence[dict[str, Any]]


def label_pairs(config: Config, run_id: str, count: int, person: str) -> int:
    """Ask about up to `count` pairs, then print the estimate. Raises InputError for a run without a judge."""
    require_judge(config)
    rows = judged_rows(config, run_id)
    labels, rng = labels_of(config, rows), np.random.default_rng(config.seed)
    swapped = rng.random(len(rows)) < 0.5
    drawn = [place for place in rng.permutation(len(rows)).tolist() if place not in labels]
    for number, place in enumerate(drawn[:count], start=1):
        print(f"\n--- {number} of {min(count, len(drawn))}")
        won = _asked(rows[place], bool(swapped[place]))
        if won is None:
            break
        keep_comparison(config, _pair(rows[place]), won, person, datetime.now(UTC))
    print(f"\n{estimate(rows, labels_of(config, rows), config.evaluate.confidence)}")
    return 0


def judged_rows(config: Config, run_id: str) -> list[dict[str, Any]]:
    """The night's pairs that have a verdict and differ, as the judge read them."""
    run = open_run(config, run_id)
    manifest = run.manifest("evaluate")
    if manifest is None or "judged" not in manifest.outputs:
        raise InputError(
            f"The run {run_id} has no pairs that a judge compared.",
            "Name a run whose `evaluate` ended while judge.url was set; `nightshift status` lists them.",
        )
    rows = read_jsonl(run.artifact(manifest, "judged"))
    return [
        row
        for row in rows
        if row["won"] is not None and row["production"].strip() != row["candidate"].strip()
    ]


def labels_of(config: Config, rows: Rows) -> dict[int, float]:
    """Place -> what people found, from -1 (production) to 1 (the candidate); of several the mean."""
    found: dict[str, list[int]] = {}
    for said in comparisons(config):
        found.setdefault(_key(*said["pair"]), []).append(said["won"])
    keys = {place: _key(*_pair(row)) for place, row in enumerate(rows)}
    return {place: float(np.mean(found[key])) for place, key in keys.items() if key in found}


def estimate(rows: Rows, labels: dict[int, float], confidence: float) -> str:
    """What all of these pairs' labels would be, in words."""
    said = np.array([row["won"] for row in rows], dtype=float)
    alone = f"The judge alone says {said.mean():+.3f}." if len(rows) else "The judge compared no pair."
    if len(labels) < LEAST_LABELS:
        return f"{len(labels)} of {len(rows)} pairs are labelled; {LEAST_LABELS} give an estimate. {alone}"
    own = sorted(labels)
    rest = np.setdiff1d(np.arange(len(rows)), own)
    given = np.array([labels[place] for place in own])
    (value, low, high), weight = prediction_powered_mean(given, said[own], said[rest], confidence)
    return (
        f"Of {len(rows)} questions that are answered differently, people would give the candidate "
        f"{value:+.3f} ({low:+.3f} to {high:+.3f}; won minus lost, as a share). That is from {len(own)} "
        f"labels and {len(rest)} verdicts, which weigh {weight:.2f} (1: like labels, 0: nothing). {alone}"
    )


def _asked(row: dict[str, Any], swap: bool) -> int | None:
    """1 if the person takes the candidate's answer, -1 production's, 0 neither; None to end."""
    answers = [row["production"], row["candidate"]]
    shown = answers[::-1] if swap else answers
    for line in _lines(row["messages"], shown):
        print(line)
    while True:
        try:
            said = input(ASK).strip().lower()
        except EOFError:
            return None
        if said == END:
            return None
        if said == TIE:
            return 0
        if said in (FIRST, SECOND):
            return 1 if (said == SECOND) != swap else -1


def _lines(messages: Rows, shown: Sequence[str]) -> Iterator[str]:
    for turn in messages:
        yield f"{turn['role']}: {_safe(turn_text(turn))}"
    for name, text in zip((FIRST, SECOND), shown, strict=True):
        yield f"\n[{name}] {_safe(text)}"


def _safe(text: str) -> str:
    """Without signs that a terminal would obey, but with its lines."""
    return "\n".join(printable(line) for line in text.splitlines())


def _pair(row: dict[str, Any]) -> Pair:
    return Pair(row["messages"], row["production"], row["candidate"])


def _key(messages: Messages, one: str, other: str) -> str:
    return repr([[(turn["role"], turn_text(turn)) for turn in messages], one, other])
