"""A night of the sample: the model in production answers real questions, and people give feedback.

The feedback follows from the known answer. Everything follows from the seed and the model: latencies are
drawn too, not measured, so that the same night gives the same bytes.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.core.config import Config
from pipelines.core.config.data import SAMPLE_FOLDER
from pipelines.core.errors import InputError
from pipelines.core.files import replacing
from pipelines.data.lake import write_parquet
from pipelines.data.schema import SCHEMA
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.tasks import task_of
from pipelines.models import open_registry
from pipelines.models.aliases import in_production
from pipelines.models.base import base_folder
from pipelines.models.engine import Engine
from pipelines.sample.people import CHANNELS, PEOPLE, feedback_on, person
from pipelines.sample.questions import Item, messages_of, sample_plan

log = logging.getLogger("nightshift")

LATE_SHARE = 0.02  # asked on the day before, delivered tonight
DUPLICATE_SHARE = 0.01  # delivered twice, on top of the night's rows


def write_night(config: Config, night: date) -> Path:
    """Answer a night's questions with the model in production and write the delivery.

    A night that was written stays as it is. Raises InputError for a night outside the sample.
    """
    if not config.sample.has(night):
        raise InputError(
            f"{night} is not a night of the sample, which runs from {config.sample.first_night} "
            f"to {config.sample.last_night}.",
            "Name one of its nights, take another NIGHTSHIFT_HOME, or set ingest.kind to read your own log.",
        )
    path = Path(config.path(SAMPLE_FOLDER, night)) / "part.parquet"
    if path.exists():
        return path
    log.info("sample: the model in production answers the questions of %s", night)
    number = (night - config.sample.first_night).days
    items = sample_plan(config).nights[number]
    rows = _answered(config, night, items)
    with replacing(path) as partial:
        write_parquet(partial, pa.Table.from_pylist(rows, SCHEMA).to_batches(), SCHEMA)
    return path


def _answered(config: Config, night: date, items: tuple[Item, ...]) -> list[dict[str, object]]:
    engine = Engine(config.model, str(base_folder(config)), config.task.system_prompt)
    adapter = in_production(config)
    if adapter:
        registry = open_registry(config)
        engine.load("production", registry.fetch(adapter.version))
    name = adapter.version if adapter else "base"
    conversations = [messages_of(config, item.question) for item in items]
    log.info("sample: night %s, %s answers %d questions", night, name, len(items))
    kept = KeptAnswers(config, engine, adapter.digest if adapter else "", "ingest")
    answers = task_of(config).answers(kept, conversations)
    tokens_in = [len(ids) for ids in engine.prompts(conversations)]
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
    """The delivery's rows: people, times and feedback are drawn, and some rows are delivered twice."""
    first = night == config.sample.first_night
    rng = np.random.default_rng([config.sample.seed, 2, night.toordinal()])
    task = task_of(config)
    rows: list[dict[str, object]] = []
    for i, (item, messages, answer) in enumerate(zip(items, conversations, answers, strict=True)):
        late = not first and rng.random() < LATE_SHARE
        midnight = datetime.combine(night - timedelta(days=late), time(), UTC)
        right = task.read(answer) == task.read(item.answer)
        rating, correction = feedback_on(right, item.answer, config.sample.feedback_share, rng)
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
