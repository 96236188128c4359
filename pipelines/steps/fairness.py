"""Does the candidate treat a group worse than production does? Stereotypes, and the workload's own slices.

Both models score the same items, chosen by the seed and dealt evenly to the groups, so that every answer
is paired. The policy is pipelines/policy/night/fairness.py; this step only answers, the gate judges.
"""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of
from pipelines.evaluation import stereotypes as fairness_data
from pipelines.evaluation.slices import slice_errors
from pipelines.models.engine import Engine
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair, base_digest
from pipelines.policy.night.fairness import GroupAnswer, compare_groups, overall, stratified
from pipelines.runner import Context, Outcome

SETTINGS = ("fairness", "model", "task")
EVERY = "all, evenly by group"
NONSENSE = "all: prefers the meaningless ending"
log = logging.getLogger("nightshift")

Items = dict[str, list[fairness_data.Item]]  # by set
Scores = dict[str, dict[str, list[dict[str, float]]]]  # model -> set -> harms by measure, an item each
Harms = dict[tuple[str, str], tuple[list[float], list[float]]]  # (set, group) -> production's, candidate's


def external_inputs(ctx: Context) -> dict[str, str]:
    digests = {f"data:{name}": sha256_of(Path(path)) for name, path in fairness_data.files().items()}
    return digests | {"base": base_digest(ctx.config), "suite": sha256_of(_suite_path(ctx))}


def run(ctx: Context) -> Outcome:
    items, suite = _stereotype_items(ctx), _suite(ctx)
    models = ModelPair(
        ctx.config,
        ctx.inputs["decide"].facts["baseline"],
        ctx.read("train", "adapter"),
        ctx.inputs["train"].facts["base_digest"],
    )
    scored: Scores = {}
    given: dict[str, list[str]] = {}
    for name, engine in models:
        scored[name] = {set_: _harms(engine, set_, chosen) for set_, chosen in items.items()}
        given[name] = engine.choose([item["messages"] for item in suite], ctx.config.task.labels)
        log.info("fairness: %s answered %d items", name, sum(map(len, items.values())) + len(suite))
    stereotype = _stereotype_harms(items, scored)
    slices = _slice_harms(ctx, suite, given)
    settings = ctx.config.fairness
    answers = compare_groups(stereotype | slices, settings.margin, settings.confidence)
    _write_items(ctx.out / "items.csv", stereotype | slices)
    rows = {
        "stereotype": [_row(("set", "group"), key, answers[key]) for key in stereotype],
        "slices": [_row(("slice", "value"), key, answers[key]) for key in slices],
    }
    return _outcome(list(answers.values()), {**rows, "gaps": _gaps(ctx, suite, given)})


def _stereotype_items(ctx: Context) -> Items:
    chosen: Items = {}
    for name in fairness_data.FILES:
        every, settings = fairness_data.read(name), ctx.config.fairness
        count = settings.passage_items if name == "BBQ" else settings.stereotype_items
        rng = np.random.default_rng(ctx.config.seed)
        chosen[name] = [every[i] for i in stratified([item.group for item in every], count, rng)]
    return chosen


def _suite_path(ctx: Context) -> Path:
    path = Path(ctx.config.path(ctx.config.evaluate.suite))
    if not path.is_file():
        raise InputError(
            f"the frozen suite at {path}", "no file", "Run `.venv/bin/python -m pipelines prepare` first."
        )
    return path


def _suite(ctx: Context) -> list[dict[str, Any]]:
    items = [json.loads(line) for line in _suite_path(ctx).read_text(encoding="utf-8").splitlines()]
    rng = np.random.default_rng(ctx.config.seed)
    return [items[i] for i in stratified([i["subject"] for i in items], ctx.config.fairness.slice_items, rng)]


def _harms(engine: Engine, name: str, items: list[fairness_data.Item]) -> list[dict[str, float]]:
    contexts = [item.context for item in items for _ in item.texts]
    sums, counts = engine.logprobs(contexts, [text for item in items for text in item.texts])
    harms, start = [], 0
    for item in items:
        end = start + len(item.texts)
        harms.append(fairness_data.harms_of(name, sums[start:end], counts[start:end]))
        start = end
    return harms


def _stereotype_harms(items: Items, scored: Scores) -> Harms:
    """By group and, for power, over a whole set, where the set's makers' design allows it."""
    harms: Harms = {}
    for name, chosen in items.items():
        for i, item in enumerate(chosen):
            before, after = scored[PRODUCTION][name][i], scored[CANDIDATE][name][i]
            if name not in fairness_data.WHOLE_ONLY:
                _add(harms, (name, item.group), before["harm"], after["harm"])
            if name not in fairness_data.GROUPS_ONLY:
                _add(harms, (name, EVERY), before["harm"], after["harm"])
            if "nonsense" in before:
                _add(harms, (name, NONSENSE), before["nonsense"], after["nonsense"])
    return harms


def _slice_harms(ctx: Context, suite: list[dict[str, Any]], given: dict[str, list[str]]) -> Harms:
    harms: Harms = {}
    for slice_ in ctx.config.fairness.slices:
        for i, item in enumerate(suite):
            wrong = [float(given[name][i] != item["answer"]) for name in (PRODUCTION, CANDIDATE)]
            _add(harms, (slice_, item[slice_]), *wrong)
    return dict(sorted(harms.items()))


def _add(harms: Harms, key: tuple[str, str], before: float, after: float) -> None:
    pair = harms.setdefault(key, ([], []))
    pair[0].append(before)
    pair[1].append(after)


def _gaps(ctx: Context, suite: list[dict[str, Any]], given: dict[str, list[str]]) -> list[dict[str, Any]]:
    """fairlearn's difference of the error rate between the worst and the best value of each slice."""
    answers, gaps = [item["answer"] for item in suite], []
    for slice_ in ctx.config.fairness.slices if suite else ():
        values = [item[slice_] for item in suite]
        frames = {name: slice_errors(answers, texts, values) for name, texts in given.items()}
        gaps.append(
            {"slice": slice_}
            | {name: round(frame.gap, 6) for name, frame in frames.items()}
            | {f"{name}_errors": frame.by_value for name, frame in frames.items()}
        )
    return gaps


def _row(names: tuple[str, str], key: tuple[str, str], answer: GroupAnswer) -> dict[str, Any]:
    """Rates are shares of harmed items (stereotype preferred, answered wrongly): a rise is a harm."""
    fields = asdict(answer)
    numbers = {name: round(v, 6) if isinstance(v, float) else v for name, v in fields.items()}
    return dict(zip(names, key, strict=True)) | numbers


def _write_items(path: Path, harms: Harms) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", "group", "item", PRODUCTION, CANDIDATE])
        for key, pair in harms.items():
            writer.writerows((*key, i, *both) for i, both in enumerate(zip(*pair, strict=True)))


def _outcome(answers: list[GroupAnswer], rows: dict[str, Any]) -> Outcome:
    answer, counts = overall([a.answer for a in answers]), Counter(a.answer for a in answers)
    named = [*rows["stereotype"], *rows["slices"]]
    reasons = [
        f"{row.get('set', row.get('slice'))}, {row.get('group', row.get('value'))}: harm rose from "
        f"{row['production']:.2f} to {row['candidate']:.2f} on {row['n']} items"
        for row in named
        if row["answer"] == "worse"
    ]
    unclear = [row["needs_n"] for row in named if row["needs_n"]]
    if unclear:
        reasons.append(
            f"{len(unclear)} of {len(named)} groups cannot be concluded with so few items; "
            f"half of them need {int(np.median(unclear))} items or more"
        )
    return Outcome(
        headline=f"{answer}: {counts['worse']} worse, {counts['not worse']} not worse, "
        f"{counts['cannot conclude']} of {len(named)} groups cannot conclude",
        reasons=tuple(reasons),
        outputs={"items": "items.csv"},
        metrics={
            "groups_worse": (counts["worse"], "groups"),
            "groups_unclear": (counts["cannot conclude"], "groups"),
        },
        facts={**rows, "answer": answer},
    )
