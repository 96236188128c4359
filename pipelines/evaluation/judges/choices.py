"""Choices that people made between two answers: of users, of reviewers of the suite, and of `judge label`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from pipelines.core.config import Config
from pipelines.core.contract import canonical_json, digest_of
from pipelines.core.conversations import with_system
from pipelines.data import open_lake
from pipelines.data.feedback_log import corrected_rows
from pipelines.evaluation.judges.ask import Pair
from pipelines.evaluation.tasks import comparable, task_of
from pipelines.policy.night.feedback import labelled, latest
from pipelines.stores import open_shared
from pipelines.stores.suites.proposals import Proposal, proposals
from pipelines.stores.suites.reviews import Review, own_answer, reviews, standing

FOLDER = "judge/choices"  # below `shared_root`: pairs that people compared, a file each
MORE = 2  # times as many rows are read as choices are asked, as some are none


class Choice(NamedTuple):
    """`pair.other` is the answer that the person took. `person` is to count people by, and never stored."""

    pair: Pair
    person: tuple[str, str]


def choices_of(config: Config, night: date) -> list[Choice]:
    """The choices of the window that ends with `night`, at most `judge.max_choices`, drawn by the seed."""
    first = night - timedelta(days=config.judge.window_days)
    found = [
        *_corrections(config, first, night),
        *_reviews(config, first, night),
        *_comparisons(config, first, night),
    ]
    drawn = np.random.default_rng(config.seed).permutation(len(found))[: config.judge.max_choices]
    return [found[place] for place in sorted(drawn.tolist())]


def choices_digest(config: Config) -> str:
    """Names all that people reviewed and compared. What users corrected lies in the lake."""
    edits = sorted([review.item, review.at, review.answer] for _, review in _edits(config))
    return digest_of([edits, comparisons(config)])


def keep_comparison(config: Config, pair: Pair, won: int, person: str, at: datetime) -> None:
    """Keep what a person found: 1 `other` is better, -1 `one` is, 0 neither. A later word replaces it."""
    said = {"won": won, "person": person, "at": at.isoformat(), "pair": [list(pair.messages), *pair[1:]]}
    name = digest_of([said["pair"], person])
    open_shared(config).write_bytes(f"{FOLDER}/{name}.json", canonical_json(said))


def comparisons(config: Config) -> list[dict[str, Any]]:
    """All that people compared: `won`, `person`, `at` and `pair`."""
    shared = open_shared(config)
    read = shared.read_many(path for path in shared.files(FOLDER) if path.endswith(".json"))
    return [json.loads(read[path]) for path in sorted(read)]


def _corrections(config: Config, first: date, night: date) -> list[Choice]:
    """Corrections are taken over the answers that they correct."""
    settings, task = config.judge, task_of(config)
    most = MORE * settings.max_choices
    rows = corrected_rows(open_lake(config), first, night, most, settings.choices_per_person, config.seed)
    fit = latest(labelled(rows, task.read, config.task.system_prompt))
    return [
        _correction(row)
        for row in fit
        if comparable(task, row["completion"]) != comparable(task, row["answer"])
    ]


def _correction(row: Mapping[str, Any]) -> Choice:
    pair = Pair(row["messages"], row["completion"].strip(), row["answer"])
    return Choice(pair, (row["tenant"], row["subject_id"]))


def _reviews(config: Config, first: date, night: date) -> list[Choice]:
    """Answers that a person wrote in the place of a proposed one."""
    task, found = task_of(config), []
    for proposal, review in _edits(config):
        if _is_within(review.at, first, night):
            proposed, own = proposal.item["answer"], task.read(own_answer(config, review))
            if own and comparable(task, own) != comparable(task, proposed):
                messages = with_system(proposal.item["messages"], config.task.system_prompt)
                found.append(Choice(Pair(messages, proposed, own), ("", review.actor)))
    return found


def _edits(config: Config) -> list[tuple[Proposal, Review]]:
    """The proposed items whose review that counts is another answer."""
    said = reviews(config)
    counted = ((one, standing(said.get(one.digest, ()))) for one in proposals(config).values())
    return [(one, review) for one, review in counted if review and review.verdict == "edited"]


def _comparisons(config: Config, first: date, night: date) -> list[Choice]:
    """Pairs of which a person found one better."""
    found = []
    for said in comparisons(config):
        messages, one, other = said["pair"]
        if said["won"] and _is_within(said["at"], first, night):
            pair = Pair(messages, one, other) if said["won"] > 0 else Pair(messages, other, one)
            found.append(Choice(pair, ("", said["person"])))
    return found


def _is_within(at: str, first: date, night: date) -> bool:
    return first <= datetime.fromisoformat(at).date() <= night
