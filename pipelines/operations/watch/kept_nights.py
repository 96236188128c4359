"""Earlier nights as a watch compares with them, kept on this machine: a look reads its window only.

A kept night has counts, lengths and a mean embedding, and no text. It is read again when the lake's files of
that day, the embedder, a setting or the code change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.cache import cached
from pipelines.core.code import lock_digest, whole_code_digest
from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import question_text
from pipelines.core.home import cache_folder
from pipelines.data import open_lake
from pipelines.data.embedder import Embedder
from pipelines.data.reference import sample
from pipelines.policy.alerts.watch_nights import NightQuestions, questions_of
from pipelines.policy.alerts.watch_tests import WatchSide, at_most

FOLDER, QUESTIONS = "watch_nights", "questions.json"
Rows = Sequence[dict[str, Any]]


class KeptNights:
    """Reads nights of the lake as of a day; `per_person`: rows of one person that count."""

    def __init__(self, config: Config, embedder: Embedder, as_of: date, per_person: int) -> None:
        self._config, self._embedder, self._as_of = config, embedder, as_of
        self._per_person = per_person
        self._folder = cache_folder(config.home, FOLDER)
        settings = config.watch
        self._read_with = [
            [config.seed, per_person, settings.min_rows, settings.max_rows, list(config.task.labels)],
            [embedder.identity, whole_code_digest(), lock_digest()],
        ]

    def with_enough_rows(self, nights: Sequence[date]) -> list[NightQuestions]:
        """What is kept of each night that has `watch.min_rows` rows."""
        digests = open_lake(self._config).day_digests(nights, self._as_of)
        found = [self._of(night, digests[night]) for night in nights]
        return [night for night in found if night is not None]

    def summary(self, rows: Rows, seed: int) -> NightQuestions | None:
        """What counts of some rows: `watch.min_rows` of them, so that nights and window are of one size."""
        counted, size = at_most(rows, self._per_person), self._config.watch.min_rows
        if len(counted) < size:
            return None
        places = np.random.default_rng([self._config.seed, seed]).permutation(len(counted))[:size]
        drawn = [counted[place] for place in sorted(places)]
        vectors = self._embedder.embed([question_text(row["messages"]) for row in drawn])
        return questions_of(WatchSide(drawn, vectors), self._config.task.labels)

    def _of(self, night: date, digest: str) -> NightQuestions | None:
        def read(entry: Path) -> None:
            seed = night.toordinal()
            rows, _ = sample(self._config, [night], self._as_of, seed, self._config.watch.max_rows)
            found = self.summary(rows, seed)
            (entry / QUESTIONS).write_text(json.dumps(asdict(found) if found else None), encoding="utf-8")

        key = digest_of([str(night), digest, *self._read_with])
        entry = cached(self._folder, key, read, _is_whole)
        kept = json.loads((entry / QUESTIONS).read_text("utf-8"))
        return NightQuestions(**kept) if kept else None


def _is_whole(entry: Path) -> bool:
    """Whether it can be read: a disk may lose a part of it."""
    try:
        kept = json.loads((entry / QUESTIONS).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return kept is None or set(kept) == set(NightQuestions.__dataclass_fields__)
