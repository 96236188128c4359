"""How long the decisions of a watch take at its default settings: `python -m benchmarks.watch`.

Prints CPU time, the fastest of three. Embedding the window's texts is not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.machine import describe
from benchmarks.tables import markdown
from pipelines.core.config import Watch
from pipelines.operations.watch.compare import MOST_TESTS
from pipelines.policy.alerts.watch_nights import questions_by_night, questions_of
from pipelines.policy.alerts.watch_tests import WatchSide, WatchTests
from pipelines.policy.stats.permutation import permutations_needed

LABELS = tuple(f"department {place}" for place in range(12))
DIMENSIONS, NIGHTS = 384, 21


def side(rng: np.random.Generator, rows: int, moved: float = 0.0) -> WatchSide:
    """Answers of so many people; `moved`: the share of them that are another, longer answer."""
    other = rng.random(rows) < moved
    texts = np.where(other, LABELS[0] + " and more", rng.choice(LABELS, rows)).tolist()
    vectors = rng.normal(size=(rows, DIMENSIONS)) + 3 * other[:, None]
    drawn = [
        {
            "tenant": f"t{rng.integers(5)}", "subject_id": f"p{rng.integers(10**6)}", "locale": "en-GB",
            "channel": "web", "messages": [{"role": "user", "content": "x" * int(rng.integers(5, 90))}],
            "completion": text, "rating": 1, "correction": None,
        }
        for text in texts
    ]  # fmt: skip
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return WatchSide(drawn, unit, rng.beta(2, 8, rows) + 0.3 * other)


def main() -> None:
    settings, rng = Watch(), np.random.default_rng(0)
    draws = permutations_needed(0, MOST_TESTS, settings.alpha_day / settings.looks_per_day)
    before, still, moved = (side(rng, settings.max_rows, share) for share in (0.0, 0.0, 0.6))
    nights = [questions_of(side(rng, settings.min_rows), LABELS) for _ in range(NIGHTS + 1)]
    cases: dict[str, Callable[[], object]] = {
        f"questions: the window and {NIGHTS} nights, from what is kept of each": lambda: questions_by_night(
            nights, LABELS, settings.min_rated
        ),
        "answers: relabelled, nothing moved": lambda: WatchTests(draws, 1).answers(before, still, LABELS),
        "answers: relabelled, all columns moved": lambda: WatchTests(draws, 1).answers(before, moved, LABELS),
    }
    print(describe())
    print(f"\n{settings.max_rows} answers a side, at most {draws:,} relabellings a column\n")
    print(
        markdown(("decision", "CPU ms"), [(name, f"{_fastest_ms(run):.0f}") for name, run in cases.items()])
    )


def _fastest_ms(run: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return 1000 * min(times)


if __name__ == "__main__":
    main()
