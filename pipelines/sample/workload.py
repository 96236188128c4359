"""The sample workload: real questions, laid over nights, answered by the model in production.

`plan` is pure: it decides which question is asked on which night, by whom, and is known in advance. Before
`shift_night` every department is asked about equally; from then on the questions that are left come in
proportion, which makes Dental several times as frequent. `write_night` has the model answer, and derives
the users' feedback from the known subject. Everything follows from the seed and the model: latencies too
are drawn, not measured, so that a night's bytes can be made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.core.config import Config, Sample
from pipelines.core.config.data import SAMPLE_FOLDER
from pipelines.core.errors import InputError
from pipelines.data.lake import write_parquet
from pipelines.data.schema import SCHEMA
from pipelines.models import open_registry
from pipelines.models.aliases import in_production
from pipelines.models.engine import Engine
from pipelines.sample.packaged import convert_smollm2, medmcqa

log = logging.getLogger("nightshift")

SUBJECTS = {"Gynaecology_Obstetrics": "Gynaecology", "Social_Preventive_Medicine": "Preventive Medicine"}
MAX_QUESTION_CHARS = 160
PEOPLE = 300
LOCALES = ("en-GB", "en-US", "en-IN", "en-NG")
CHANNELS = ("web", "mobile", "phone")
REPEATED_SHARE = 0.02  # of a night's rows: a question of an earlier night, asked again
LATE_SHARE = 0.02  # asked on the day before, delivered tonight
DUPLICATE_SHARE = 0.01  # delivered twice, on top of the night's rows
OPT_OUT_SHARE = 0.02  # of people
CORRECTED_SHARE = 0.9  # of the wrong answers that were rated
_PACKAGED_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Item:
    """A question with its right answer."""

    question: str
    label: str


@dataclass(frozen=True)
class Plan:
    """Which questions are kept for the frozen suite, and which are asked on each night."""

    suite: tuple[Item, ...]
    nights: tuple[tuple[Item, ...], ...]


def prepare_model(config: Config) -> None:
    """Convert the packaged base model, where that is the base; once."""
    base = Path(config.path(config.model.base))
    if base.name == _PACKAGED_MODEL:
        convert_smollm2(base)


def prepare_suite(config: Config) -> None:
    """Write the sample's frozen questions; once."""
    suite = Path(config.path(config.evaluate.suite))
    if not suite.exists():
        rows = suite_rows(plan(questions(config.task.labels), config.sample), config)
        _write(suite, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        log.info("sample: %d frozen questions in %s", len(rows), suite)


def write_night(config: Config, night: date) -> Path:
    """Answer a night's questions with the model in production and write the delivery.

    A night that was written stays as it is: a log is history. Raises InputError for a night outside
    the sample.
    """
    if not config.sample.has(night):
        raise InputError(
            f"a night of the sample, {config.sample.first_night} to {config.sample.last_night}",
            str(night),
            "Name one of these, take another NIGHTSHIFT_HOME, or set ingest.kind to read your own log.",
        )
    path = Path(config.path(SAMPLE_FOLDER, night)) / "part.parquet"
    if path.exists():
        return path
    log.info("sample: the model in production answers the questions of %s", night)
    number = (night - config.sample.first_night).days
    items = plan(questions(config.task.labels), config.sample).nights[number]
    rows = _answered(config, night, items)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    write_parquet(work, pa.Table.from_pylist(rows, SCHEMA).to_batches(), SCHEMA)
    os.replace(work, path)
    return path


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
    """Lay questions over nights; the frozen suite is taken out first. Pure, by the seed."""
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
                f"{sample.rows_per_night} questions on each of {sample.nights} nights",
                f"too few for night {number + 1}",
                "Lower sample.rows_per_night or sample.nights.",
            )
        nights.append(tuple(new + again))
        asked += new
    return Plan(_items(kept), tuple(nights))


def suite_rows(laid: Plan, config: Config) -> list[dict[str, object]]:
    """The frozen items, in the shape that `evaluate` and `fairness` read."""
    rng = np.random.default_rng([config.sample.seed, 1])
    return [
        {
            "id": f"suite-{hashlib.sha256(item.question.encode()).hexdigest()[:12]}",
            "subject": item.label,
            "messages": _messages(config, item.question),
            "answer": item.label,
            "tenant": str(rng.choice(config.sample.tenants)),
            "locale": str(rng.choice(LOCALES)),
            "channel": str(rng.choice(CHANNELS)),
        }
        for item in laid.suite
    ]


def _items(by_label: dict[str, list[str]]) -> tuple[Item, ...]:
    return tuple(Item(question, label) for label in sorted(by_label) for question in by_label[label])


def _mixed(by_label: dict[str, list[str]], rng: np.random.Generator) -> list[Item]:
    items = _items(by_label)
    return [items[i] for i in rng.permutation(len(items))]


def _messages(config: Config, question: str) -> list[dict[str, str]]:
    system = config.task.system_prompt
    return [
        *([{"role": "system", "content": system}] if system else []),
        {"role": "user", "content": question},
    ]


def _answered(config: Config, night: date, items: tuple[Item, ...]) -> list[dict[str, object]]:
    engine = Engine(config.model, config.path(config.model.base))
    adapter = in_production(config)
    if adapter:
        registry = open_registry(config)
        engine.load("production", registry.fetch(adapter.version))
    name = adapter.version if adapter else "base"
    conversations = [_messages(config, item.question) for item in items]
    log.info("sample: night %s, %s answers %d questions", night, name, len(items))
    answers = engine.choose(conversations, config.task.labels)
    tokens_in = engine.count_tokens([engine.chat_text(messages) for messages in conversations])
    tokens_out = engine.count_tokens(answers)
    return _rows(config, night, items, conversations, answers, name, tokens_in, tokens_out)


def _rows(
    config: Config,
    night: date,
    items: tuple[Item, ...],
    conversations: list[list[dict[str, str]]],
    answers: list[str],
    adapter: str,
    tokens_in: list[int],
    tokens_out: list[int],
) -> list[dict[str, object]]:
    """The delivery: people, times and feedback are drawn; then some rows come twice."""
    first = night == config.sample.first_night
    rng = np.random.default_rng([config.sample.seed, 2, night.toordinal()])
    rows: list[dict[str, object]] = []
    for i, (item, messages, answer) in enumerate(zip(items, conversations, answers, strict=True)):
        late = not first and rng.random() < LATE_SHARE
        midnight = datetime.combine(night - timedelta(days=late), time(), UTC)
        rating, correction = feedback_on(answer == item.label, item.label, config.sample.feedback_share, rng)
        rows.append(
            {
                "request_id": f"{night}-{i:05d}",
                "ts": midnight + timedelta(seconds=round(float(rng.uniform(0, 86_399)), 3)),
                **person(int(rng.integers(PEOPLE)), config.sample),
                "messages": messages,
                "completion": answer,
                "adapter": adapter,
                "route": "production",
                "rating": rating,
                "correction": correction,
                "channel": str(rng.choice(CHANNELS, p=(0.6, 0.3, 0.1))),
                "tokens_in": tokens_in[i],
                "tokens_out": tokens_out[i],
                "latency_ms": round(float(rng.lognormal(4.2, 0.3)) + tokens_in[i], 1),
            }
        )
    twice = rng.choice(len(rows), round(DUPLICATE_SHARE * len(rows)), replace=False)
    return rows + [rows[i] for i in sorted(twice)]


def feedback_on(
    right: bool, label: str, share: float, rng: np.random.Generator
) -> tuple[int | None, str | None]:
    """Rating and correction: a right answer is liked, a wrong one disliked and mostly corrected."""
    rated, corrected = rng.random(2) < (share, CORRECTED_SHARE)
    if not rated:
        return None, None
    return (1, None) if right else (-1, label if corrected else None)


def person(number: int, sample: Sample) -> dict[str, object]:
    """A person keeps tenant, language and wish from night to night."""
    rng = np.random.default_rng([sample.seed, 3, number])
    return {
        "subject_id": f"p-{number:04d}",
        "tenant": str(rng.choice(sample.tenants)),
        "locale": str(rng.choice(LOCALES, p=(0.4, 0.3, 0.2, 0.1))),
        "opt_out": bool(rng.random() < OPT_OUT_SHARE),
    }


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.write_bytes(data)
    os.replace(work, path)
