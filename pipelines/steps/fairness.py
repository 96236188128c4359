"""Does the candidate treat a group worse than production does? Stereotypes, and the workload's own slices.

Both models score the same items, chosen by the seed and dealt evenly to the groups, so that every difference
is paired. Which groups are judged is planned before (pipelines/evaluation/judged_groups.py); the rules are in
pipelines/policy/night. This step reports, and the gate decides.
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.contract import digest_of
from pipelines.core.facts.common import GroupFinding
from pipelines.core.facts.decide import DecideFacts
from pipelines.core.facts.fairness import FairnessFacts, SliceFinding, StereotypeFinding
from pipelines.core.facts.train import TrainFacts
from pipelines.core.files import sha256_of
from pipelines.evaluation import harms, stereotypes
from pipelines.evaluation.harms import Harms
from pipelines.evaluation.judged_groups import drawn_suite, judged_groups, plan_of, stereotype_items
from pipelines.evaluation.kept_answers import KeptAnswers
from pipelines.evaluation.scorers.own import own_digests
from pipelines.evaluation.scores import score
from pipelines.evaluation.suite import suite_file_digest, suite_items
from pipelines.evaluation.tasks import task_of
from pipelines.models.base import base_digest
from pipelines.models.engine import Engine
from pipelines.models.pair import CANDIDATE, PRODUCTION, ModelPair
from pipelines.models.served import answered_by
from pipelines.policy.night.fairness import compare_groups, overall
from pipelines.policy.night.open_groups import without_power
from pipelines.runner import Context, Outcome

SETTINGS = ("fairness", "model", "task")
log = logging.getLogger("nightshift")
Group = StereotypeFinding | SliceFinding


def external_inputs(ctx: Context) -> dict[str, str]:
    digests = {f"data:{name}": sha256_of(Path(path)) for name, path in stereotypes.files().items()}
    digests |= own_digests(ctx.config.scorers) | {"scorers": digest_of(list(ctx.config.scorers))}
    return (
        digests
        | answered_by(ctx.config)
        | {"base": base_digest(ctx.config), "suite": suite_file_digest(ctx.config)}
    )


def run(ctx: Context) -> Outcome:
    settings, items, task = ctx.config.fairness, stereotype_items(ctx.config), task_of(ctx.config)
    suite = drawn_suite(ctx.config, suite_items(ctx.config))
    groups = judged_groups(settings, items, suite)
    models = ModelPair(
        ctx.config,
        ctx.facts(DecideFacts).baseline,
        ctx.read("train", "adapter"),
        ctx.facts(TrainFacts),
        ctx.step,
    )
    ctx.ends.callback(models.close)
    scored: harms.Scores = {}
    given: harms.Answers = {}
    for name, engine in models:
        kept = KeptAnswers(
            ctx.config, engine, models.digests[name], ctx.step, answering=models.answering(name)
        )
        scored[name] = {set_: _stereotypes(engine, set_, chosen, kept) for set_, chosen in items.items()}
        given[name] = task.answers(kept, [item["messages"] for item in suite])
        log.info("fairness: %s answered %d items", name, sum(map(len, items.values())) + len(suite))
    by_stereotype = harms.stereotype_harms(groups.stereotypes, scored)
    wrong = {name: 1 - score(task, answers, suite) for name, answers in given.items()}
    by_slice = harms.slice_harms(groups.slices, wrong)
    elsewhere = {} if task.is_graded else harms.said_elsewhere(groups.slices, suite, given)
    found = compare_groups(by_stereotype | by_slice, settings.margin, settings.confidence, elsewhere)
    _write_items(ctx.out / "items.csv", by_stereotype | by_slice)
    stereotype = tuple(
        StereotypeFinding(set=set_, group=group, **_rounded(found[set_, group]))
        for set_, group in by_stereotype
    )
    slices = tuple(
        SliceFinding(slice=name, value=value, **_rounded(found[name, value])) for name, value in by_slice
    )
    facts = FairnessFacts(
        plan=plan_of(settings, groups),
        stereotype=stereotype,
        slices=slices,
        gaps=harms.gaps(settings.slices, suite, wrong),
        answer=overall([group.answer for group in found.values()]),
    )
    return _outcome(facts, [*stereotype, *slices])


def _stereotypes(
    engine: Engine, name: str, items: Sequence[stereotypes.Item], kept: KeptAnswers
) -> list[dict[str, float]]:
    asked = [name, *([item.context, list(item.texts)] for item in items)]
    return kept.of("stereotypes", asked, lambda: harms.score(engine, name, items))


def _rounded(finding: GroupFinding) -> dict[str, Any]:
    return {name: round(v, 6) if isinstance(v, float) else v for name, v in finding}


def _write_items(path: Path, by_group: Harms) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["set", "group", "item", PRODUCTION, CANDIDATE])
        for key, pair in by_group.items():
            writer.writerows((*key, i, *both) for i, both in enumerate(zip(*pair, strict=True)))


def _outcome(facts: FairnessFacts, groups: Sequence[Group]) -> Outcome:
    counts = Counter(group.answer for group in groups)
    assert facts.plan is not None
    powerless = len(without_power(groups, facts.plan.large_harm))
    return Outcome(
        headline=f"{facts.answer}: {counts['worse']} of {len(groups)} groups worse, "
        f"{counts['not worse']} not worse, {counts['cannot conclude']} unclear, {powerless} without power",
        reasons=tuple(_reasons(groups)),
        outputs={"items": "items.csv"},
        metrics={
            "groups_worse": (counts["worse"], "groups"),
            "groups_unclear": (counts["cannot conclude"], "groups"),
            "groups_without_power": (powerless, "groups"),
        },
        facts=facts,
    )


def _reasons(groups: Sequence[Group]) -> list[str]:
    reasons = [
        f"{', '.join(group.names)}: harm rose from {group.production:.2f} to {group.candidate:.2f} "
        f"on {group.n} items"
        for group in groups
        if group.answer == "worse"
    ]
    unclear = [group.needs_n for group in groups if group.needs_n]
    if unclear:
        reasons.append(
            f"{len(unclear)} of {len(groups)} groups cannot be concluded with so few items; "
            f"half of them need {int(np.median(unclear))} items or more"
        )
    return reasons
