"""Which question is asked on which night. Pure: everything follows from the seed and is known in advance.

Before `shift_night` every department is asked about equally often. From then on the questions that are left
come in proportion, which makes Dental several times as frequent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.core.config import Config, Sample
from pipelines.core.errors import InputError
from pipelines.sample.packaged import medmcqa
from pipelines.sample.people import CHANNELS, LOCALES

SUBJECTS = {"Gynaecology_Obstetrics": "Gynaecology", "Social_Preventive_Medicine": "Preventive Medicine"}
MAX_QUESTION_CHARS = 160
REPEATED_SHARE = 0.02  # of a night's rows: a question of an earlier night, asked again


@dataclass(frozen=True)
class Item:
    """A question with its right answer."""

    question: str
    label: str


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


def plan(pool: dict[str, list[str]], sample: Sample) -> Plan:
    """Spread the questions over the nights. Those of the frozen suite are taken out first."""
    rng = np.random.default_rng([sample.seed, 0])
    shuffled = {label: [pool[label][i] for i in rng.permutation(len(pool[label]))] for label in sorted(pool)}
    kept = {label: rows[: sample.holdout_per_label] for label, rows in shuffled.items()}
    left = {label: rows[sample.holdout_per_label :] for label, rows in shuffled.items()}
    repeated = round(REPEATED_SHARE * sample.rows_per_night)
    fresh = sample.rows_per_night - repeated
    before = min(sample.shift_night - 1, sample.nights)
    equal = -(-(before * fresh + repeated) // len(left))  # rows of each label before the shift
    early = _mixed({label: rows[:equal] for label, rows in left.items()}, rng)
    later = _mixed({label: rows[equal:] for label, rows in left.items()}, rng)
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
            "subject": item.label,
            "messages": messages_of(config, item.question),
            "answer": item.label,
            "tenant": str(rng.choice(config.sample.tenants)),
            "locale": str(rng.choice(LOCALES)),
            "channel": str(rng.choice(CHANNELS)),
        }
        for item in items
    ]


def _items(by_label: dict[str, list[str]]) -> tuple[Item, ...]:
    return tuple(Item(question, label) for label in sorted(by_label) for question in by_label[label])


def _mixed(by_label: dict[str, list[str]], rng: np.random.Generator) -> list[Item]:
    items = _items(by_label)
    return [items[i] for i in rng.permutation(len(items))]


def messages_of(config: Config, question: str) -> list[dict[str, str]]:
    """The conversation in which a question is asked."""
    system = config.task.system_prompt
    return [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": question},
    ]
