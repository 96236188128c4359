"""A candidate that waits: which one does, its night's work again, and the rows that it cannot know."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.core.cache import OUTPUTS
from pipelines.core.config import Config
from pipelines.core.contract import Manifest, digest_of
from pipelines.core.facts.common import Baseline, Waiting
from pipelines.core.facts.record import decision_facts
from pipelines.core.home import cache_folder
from pipelines.data import open_lake
from pipelines.data.feedback_log import labelled_rows
from pipelines.evaluation.tasks import task_of
from pipelines.models.base import base_digest
from pipelines.policy.night.feedback import is_kept_back, latest
from pipelines.stores import open_ledger, run_uri
from pipelines.stores.runs import Run

Item = dict[str, Any]
MOST_ROWS = 2_000  # fresh ones of a night that are asked at most; this bounds time


def pair_digest(config: Config, baseline: Baseline) -> str:
    """Names what a candidate is compared with and how: where it changes, nothing waits any more."""
    settings = config.model_dump(mode="json", include={"model", "task"})
    return digest_of([baseline.kind, baseline.digest, base_digest(config), settings])


def waiting_candidate(config: Config, run_id: str, night: date, baseline: Baseline) -> Waiting | None:
    """The candidate of the newest gate before this run, if it waits and production is the same.

    None also where its files are gone, and for an earlier night than those that it was measured on.
    """
    decided = open_ledger(config).decided_before(run_id)
    newest = next((one for one in reversed(decided) if "gate" in one.evidence), None)
    waiting = decision_facts(newest.facts).waiting if newest else None
    if waiting is None or not config.gate.max_nights_waiting or night <= waiting.last_night:
        return None
    kept = run_of(config, waiting).manifest("train")
    return waiting if kept and waiting.pair == pair_digest(config, baseline) else None


def step_again(config: Config, waiting: Waiting, step: str, out: Path) -> tuple[Manifest, dict[str, str]]:
    """What a step did for the candidate's training, and its outputs, copied to `out`: name -> place."""
    run = run_of(config, waiting)
    manifest = run.manifest(step)
    assert manifest, f"{waiting.run_id} has no {step}"
    outputs = {name.partition("/")[0]: one.path.partition("/")[0] for name, one in manifest.outputs.items()}
    for name, place in outputs.items():
        source = run.artifact(manifest, name)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, out / place)
    return manifest, outputs


def fresh_items(
    config: Config, night: date, waiting: Waiting | None, share: float, fits: Callable[[Any], bool]
) -> list[Item]:
    """Labelled rows that the candidate cannot know, with `messages` and `answer`: one a person and question.

    On the night of the training they are those of people who are kept back, which `share` of people are.
    Later they are theirs since, or everybody's where nobody is kept back.
    """
    if not config.gate.max_nights_waiting or not (share or waiting):
        return []
    lake = open_lake(config)
    since = waiting.last_night if waiting else None
    nights = {one for one in lake.deliveries(night) if one == night or (since and one > since)}
    read, system = task_of(config).read, config.task.system_prompt
    rows = labelled_rows(lake, nights, night, MOST_ROWS, 1, config.seed, read, system).rows
    return [
        row
        for row in latest(rows)
        if (not share or is_kept_back(row["tenant"], row["subject_id"], share))
        and (since is None or row["ts"].date() > since)
        and fits(row["messages"])
    ]


def run_of(config: Config, waiting: Waiting) -> Run:
    """The run that trained the candidate."""
    return Run(run_uri(config, waiting.run_id), cache_folder(config.home, OUTPUTS))
