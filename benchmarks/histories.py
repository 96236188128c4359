"""Recorded histories replayed under today's rules and those of version 0.1: `python -m benchmarks.histories`.

Each history is a home of its own, in which the gate and the record of every night really run; what the other
steps measured is drawn. Prints a Markdown table. Arguments: histories and nights (200 and 10). Most time goes
into writing to disk: `TMPDIR=/dev/shm` spares it.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe
from benchmarks.tables import markdown
from pipelines.core.config import Config
from pipelines.core.contract import Verdict
from pipelines.operations.backtest import again
from pipelines.operations.backtest_shown import Night
from pipelines.runner import run_step
from pipelines.stores import open_ledger
from pipelines.stores.runs import Run
from tests.support.facts import group
from tests.support.nightfall import finish

FIRST, ITEMS, EARLIER = date(2026, 1, 1), 240, 400
BEFORE = ("ingest", "validate", "features", "drift", "decide", "curate", "train")
READINGS = {"latency_ms": {"production": 50.0, "candidate": 51.0, "ratio": 1.02}}
FAIR = {"stereotype": [group("not worse")], "slices": [], "answer": "not worse"}
SAFE = {"answer": "safe", "reasons": []}
FORMER = "0.1"


@dataclass(frozen=True)
class World:
    """`gain` in right answers; the share of disliked answers that people correct."""

    name: str
    gain: float
    corrected: float = 1.0


WORLDS = (
    World("never better", 0.0),
    World("better by 10 points", 0.1),
    World("better by 10 points, 30% of dislikes corrected", 0.1, corrected=0.3),
    World("never better, 30% of dislikes corrected", 0.0, corrected=0.3),
)


def evaluated(world: World, rng: np.random.Generator) -> dict[str, Any]:
    """What a candidate answers: on the suite, and on rated answers of earlier nights."""
    gains, losses, same = (int(n) for n in rng.multinomial(ITEMS, _rates(world.gain, 0.2)))
    won, lost, alike = (int(n) for n in rng.multinomial(EARLIER, _rates(world.gain, 0.3)))
    told = [int(n) for n in rng.binomial((won, lost), (world.corrected, 1.0))]
    known = {"n": sum(told) + alike, "both": alike, "only_production": told[1], "only_candidate": told[0]}
    difference = {"value": 0.0, "low": -0.1, "high": 0.1}
    return {
        "baseline": "adapter",
        "paired": {"n": ITEMS, "both": same, "only_production": losses, "only_candidate": gains},
        "forgetting": {
            "n": known["n"], "production": 0.5, "candidate": 0.5, "difference": difference, "paired": known,
            "disliked": {"not_lost": won - told[0]},
        },
    }  # fmt: skip


def _rates(gain: float, discordant: float) -> list[float]:
    return [(discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant]


def record(home: Path, world: World, nights: int, seed: int) -> Config:
    """A history of nights that trained. The gate and the record are the real steps."""
    config, rng = Config(profile="test", home=str(home)), np.random.default_rng(seed)
    for number in range(nights):
        run = Run(f"{home}/runs/{FIRST + timedelta(days=number)}")
        for step in BEFORE:
            finish(run, step, {"baseline": {"kind": "adapter"}} if step == "decide" else {})
        finish(run, "evaluate", evaluated(world, rng), readings=READINGS)
        finish(run, "fairness", FAIR)
        finish(run, "safety", SAFE)
        if run_step("gate", run.folder.uri, config).verdict is Verdict.PROCEED:
            finish(run, "register", {"version": str(number)})
        run_step("record", run.folder.uri, config)
    return config


def replayed(config: Config) -> Iterator[tuple[str, Night]]:
    """Each night as it was recorded, and replayed."""
    ledger = open_ledger(config)
    decided = ledger.decided_before("")
    for decision in ledger.decisions():
        yield decision.outcome, again(decision, config, {}, decided, FORMER)


def main(histories: int, nights: int) -> None:
    logging.disable(logging.WARNING)
    print(describe())
    rows, began = [], time.monotonic()
    for place, world in enumerate(WORLDS):
        ends: dict[str, Counter[str]] = {name: Counter() for name in ("recorded", "today", FORMER)}
        differing = 0
        for history in range(place, histories, len(WORLDS)):
            with tempfile.TemporaryDirectory() as folder:
                for outcome, night in replayed(record(Path(folder), world, nights, history)):
                    assert night.answer, night.note
                    assert night.former
                    found = (outcome, night.answer.replayed, night.former.replayed)
                    for counts, end in zip(ends.values(), found, strict=True):
                        counts[end] += 1
                    differing += night.answer.replayed != night.former.replayed
        total = sum(ends["recorded"].values())
        told = [f"{c['trained']} / {c['held']} / {c['rejected']}" for c in ends.values()]
        rows.append((world.name, total, *told, differing))
    print(f"\n{histories} histories of {nights} nights, in {time.monotonic() - began:.0f} s.")
    print("Nights that ended trained / held / rejected:\n")
    print(
        markdown(("candidates", "nights", "recorded", "today's rules", f"rules of {FORMER}", "differ"), rows)
    )


if __name__ == "__main__":
    histories, nights = sys.argv[1:] or ("200", "10")
    main(int(histories), int(nights))
