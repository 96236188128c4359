"""What a watch reads: the traffic of its window, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from pipelines.core.config import Config
from pipelines.core.traffic_split import Adapter
from pipelines.data.reference import reference_of, sample
from pipelines.policy.alerts.watch_tests import at_most, rated
from pipelines.policy.night.caps import person_limit
from pipelines.policy.night.drift import ANSWER, INPUT
from pipelines.stores import open_journal
from pipelines.stores.journal.reader import Totals
from pipelines.stores.journal.tables import name_and_digest

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Window:
    """The rows of one watch. `answers` and `ratings` are those of the adapter in production only."""

    start: datetime
    end: datetime
    totals: Totals
    questions: Rows
    answers: Rows
    earlier_questions: Rows
    earlier_answers: Rows
    nights: tuple[date, ...]  # those whose questions are compared with, night by night
    per_person: int  # rows of one person that count
    ratings: tuple[int, int]  # (disliked, rated)
    earlier_ratings: tuple[int, int]
    reference: str  # where the earlier questions come from

    @property
    def sides(self) -> dict[str, tuple[Rows, Rows]]:
        """INPUT and ANSWER -> (earlier rows, rows of the window)."""
        return {
            INPUT: (self.earlier_questions, self.questions),
            ANSWER: (self.earlier_answers, self.answers),
        }


def read_window(config: Config, production: Adapter | None, start: datetime, end: datetime) -> Window:
    """Read the window and its references, at most `watch.max_rows` rows a side, a few of each person."""
    settings, traffic, live = config.watch, open_journal(config), name_and_digest(production)
    reference, seed = reference_of(config, start.date()), seed_of(end)
    nights = [date.fromisoformat(night) for night in reference["nights"]]
    questions, _ = sample(config, nights, start.date(), seed, settings.max_rows)
    answers = [row for row in questions if row["adapter"] == live[0]]
    if len(answers) < settings.min_rows:  # another model answered the reference
        answers = traffic.first_answers(start, settings.max_rows, live)
    rng = np.random.default_rng([config.seed, seed])

    def draw(count: int) -> list[int]:
        return rng.permutation(count)[: settings.max_rows].tolist()

    drawn = traffic.sample(start, end, draw)
    people = {(row["tenant"], row["subject_id"]) for row in (*questions, *drawn)}
    most = person_limit(len(people), settings.rows_per_person) or settings.max_rows
    return Window(
        start=start,
        end=end,
        totals=traffic.totals(start, end),
        questions=at_most(drawn, most),
        answers=at_most(traffic.sample(start, end, draw, live), most),
        earlier_questions=at_most(questions, most),
        earlier_answers=at_most(answers, most),
        nights=tuple(nights),
        per_person=most,
        ratings=rated(traffic.ratings(start, end, live)),
        earlier_ratings=rated(answers),
        reference=reference["source"],
    )


def seed_of(end: datetime) -> int:
    """The hour that a window ends in: the same for a watch that runs again."""
    return int(end.timestamp()) // 3600
