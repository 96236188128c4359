"""Which question is asked on which night. Everything follows from the seed and is known in advance.

Before `shift_night` every topic is asked about equally often. From then on the questions that are left come
in proportion, which makes Dental (of the exam questions) several times as frequent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.config import Config, Sample
from pipelines.core.errors import InputError
from pipelines.sample.operations import operations
from pipelines.sample.packaged import medmcqa
from pipelines.sample.people import CHANNELS, LOCALES

SUBJECTS = {"Gynaecology_Obstetrics": "Gynaecology", "Social_Preventive_Medicine": "Preventive Medicine"}
MAX_QUESTION_CHARS = 160
REPEATED_SHARE = 0.02  # of a night's rows: a question of an earlier night, asked again


@dataclass(frozen=True)
class Item:
    """A question with its right answer, as the task writes it."""

    question: str
    answer: str
    topic: str  # one of a dozen; where a label is to be chosen, it is the label


Pool = dict[str, list[Item]]  # the items of each topic


@dataclass(frozen=True)
class Plan:
    """Which questions are kept for the frozen suite, which are asked on each night, and which never."""

    suite: tuple[Item, ...]
    nights: tuple[tuple[Item, ...], ...]
    unasked: tuple[Item, ...] = ()


def questions(labels: Iterable[str]) -> dict[str, list[str]]:
    """Short, distinct MedMCQA questions of each label, in the data's order."""
    found: dict[str, list[str]] = {label: [] for label in labels}
    seen = set()
    for subject, question in medmcqa():
        label, key = SUBJECTS.get(subject, subject), question.lower()
        if label in found and key not in seen and 0 < len(question) <= MAX_QUESTION_CHARS:
            seen.add(key)
            found[label].append(question)
    return found


def pool_of(config: Config) -> Pool:
    """All that a profile's sample can ask."""
    if config.sample.data == "api-operations":
        return {
            topic: [Item(asked, answer, topic) for asked, answer in pairs]
            for topic, pairs in operations().items()
        }
    return {
        label: [Item(question, label, label) for question in asked]
        for label, asked in questions(config.task.labels).items()
    }


def sample_plan(config: Config) -> Plan:
    """The plan of a profile's sample."""
    return plan(pool_of(config), config.sample)


def plan(pool: Pool, sample: Sample) -> Plan:
    """Spread the questions over the nights. Those of the frozen suite are taken out first."""
    rng = np.random.default_rng([sample.seed, 0])
    shuffled = {topic: [pool[topic][i] for i in rng.permutation(len(pool[topic]))] for topic in sorted(pool)}
    kept = {topic: rows[: sample.holdout_per_label] for topic, rows in shuffled.items()}
    left = {topic: rows[sample.holdout_per_label :] for topic, rows in shuffled.items()}
    repeated = round(REPEATED_SHARE * sample.rows_per_night)
    fresh = sample.rows_per_night - repeated
    before = min(sample.shift_night - 1, sample.nights)
    equal = -(-(before * fresh + repeated) // len(left))  # rows of each topic before the shift
    early = _mixed({topic: rows[:equal] for topic, rows in left.items()}, rng)
    later = _mixed({topic: rows[equal:] for topic, rows in left.items()}, rng)
    nights: list[tuple[Item, ...]] = []
    asked: list[Item] = []
    for number in range(sample.nights):
        source = early if number < before else later
        again = [asked[i] for i in rng.choice(len(asked), repeated, replace=False)] if asked else []
        new = [source.pop() for _ in range(min(sample.rows_per_night - len(again), len(source)))]
        if len(new) + len(again) < sample.rows_per_night:
            raise InputError(
                f"Night {number + 1} has {len(new) + len(again)} questions left of the "
                f"{sample.rows_per_night} it needs.",
                "Lower sample.rows_per_night or sample.nights.",
            )
        nights.append(tuple(new + again))
        asked += new
    return Plan(_items(kept), tuple(nights), tuple(early + later))


def suite_rows(laid: Plan, config: Config) -> list[dict[str, object]]:
    """The frozen questions as rows of the suite that `evaluate` and `fairness` read."""
    return _rows(laid.suite, config, "suite", 1)


def pool_rows(laid: Plan, config: Config) -> list[dict[str, object]]:
    """The questions that no night asks, as rows of a pool."""
    return _rows(laid.unasked, config, "pool", 2)


def _rows(items: Sequence[Item], config: Config, name: str, stream: int) -> list[dict[str, object]]:
    rng = np.random.default_rng([config.sample.seed, stream])
    return [
        {
            "id": f"{name}-{hashlib.sha256(item.question.encode()).hexdigest()[:12]}",
            "subject": item.topic,
            "messages": messages_of(config, item.question),
            "answer": item.answer,
            "tenant": str(rng.choice(config.sample.tenants)),
            "locale": str(rng.choice(LOCALES)),
            "channel": str(rng.choice(CHANNELS)),
        }
        for item in items
    ]


def _items(pool: Pool) -> tuple[Item, ...]:
    return tuple(item for topic in sorted(pool) for item in pool[topic])


def _mixed(pool: Pool, rng: np.random.Generator) -> list[Item]:
    items = _items(pool)
    return [items[i] for i in rng.permutation(len(items))]


def messages_of(config: Config, question: str) -> list[dict[str, str]]:
    """The conversation in which a question is asked."""
    system = config.task.system_prompt
    return [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": question},
    ]
