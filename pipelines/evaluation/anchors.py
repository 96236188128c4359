"""What an anchor answers to the items that guard against loss. Its answers are kept, as neither changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.cache import cached
from pipelines.core.contract import digest_of
from pipelines.evaluation import scores
from pipelines.evaluation.scores import Question
from pipelines.evaluation.suite import Item
from pipelines.models.engine import Engine

SCORES = "scores.json"


@dataclass(frozen=True)
class Guards:
    """What is asked: general questions, passages of general text, and kept-back rows of earlier nights."""

    general: Sequence[Question]
    passages: Sequence[str]
    earlier: Sequence[Item]
    labels: Sequence[str]


@dataclass(frozen=True)
class GuardScores:
    """`belief`: (n,) see `scores.belief`. `answers`: one for each earlier row."""

    belief: np.ndarray
    perplexity: float
    answers: list[str]


class KeptScores:
    """What one model answers, kept in a cache folder by a digest of the model and of what is asked."""

    def __init__(self, folder: Path, model: Any) -> None:
        """`model` is all that an answer depends on beside what is asked, as a JSON value."""
        self._folder, self._model = folder, model

    def of(self, name: str, asked: Any, compute: Callable[[], list[Any]]) -> list[Any]:
        """What was kept, or what `compute` returns (JSON values), which is kept from then on."""

        def measure(entry: Path) -> None:
            (entry / SCORES).write_text(json.dumps(compute()))

        key = digest_of({"scores": name, "model": self._model, "asked": asked})
        entry = cached(self._folder, key, measure, lambda kept: (kept / SCORES).exists())
        found: list[Any] = json.loads((entry / SCORES).read_text())
        return found


def anchor_scores(use: Callable[[], Engine], asked: Guards, kept: KeptScores) -> GuardScores:
    """What an anchor scores. `use` returns the engine as it answers for the anchor, and may be slow."""
    general, passages = list(asked.general), list(asked.passages)
    earlier = [[item["messages"] for item in asked.earlier], list(asked.labels)]
    return GuardScores(
        belief=np.array(kept.of("belief", general, lambda: scores.belief(use(), general).tolist()), float),
        perplexity=float(kept.of("perplexity", passages, lambda: [scores.perplexity(use(), passages)])[0]),
        answers=kept.of("answers", earlier, lambda: scores.answers(use(), asked.earlier, asked.labels)),
    )
