"""Small losses must not add up: the candidate against models that stay fixed while production moves on. Pure.

Each check against production allows a small loss. A year of small losses is a large one, and no night's
comparison shows it. So the candidate is also compared with anchors: the bare base always, and the version
that people chose. Their limits hold for the sum of all nights, and are never narrower than production's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.core.config import Gate
from pipelines.core.facts.common import Baseline
from pipelines.core.facts.evaluate import AnchorFacts
from pipelines.core.facts.gate import Check
from pipelines.policy.night import checks
from pipelines.policy.night.instructions import instruction_check
from pipelines.policy.night.measured import Measured

GUARDS = ("general", "perplexity", "instructions", "forgetting")


def anchors_tonight(baseline: Baseline, chosen: Baseline | None) -> tuple[Baseline, ...]:
    """The models beside production that a candidate must not fall behind: the base, and what people chose.

    Production itself is compared with in any case, and by narrower limits.
    """
    named = (Baseline(kind="base"), *([chosen] if chosen else []))
    return tuple(one for one in named if one.digest != baseline.digest)


def anchor_checks(pinned: Sequence[Baseline], found: Measured, settings: Gate) -> list[Check]:
    """Rows of the gate's table for each anchor that decide pinned. What was not measured holds."""
    compared = {one.digest: one for one in found.evaluate.anchors or ()}
    return [row for one in pinned for row in _rows(one, compared.get(one.digest), found, settings)]


def _rows(anchor: Baseline, facts: AnchorFacts | None, found: Measured, settings: Gate) -> list[Check]:
    parts = dict.fromkeys(GUARDS) if facts is None else {name: getattr(facts, name) for name in GUARDS}
    against = replace(found, evaluate=found.evaluate.model_copy(update=parts))
    rows = [
        checks.general(against, max(settings.max_anchor_general_loss, settings.max_general_loss)),
        checks.perplexity(against, max(settings.max_anchor_perplexity_ratio, settings.max_perplexity_ratio)),
        *instruction_check(
            against, max(settings.max_anchor_instruction_loss, settings.max_instruction_loss), settings.alpha
        ),
    ]
    if parts["forgetting"]:  # there are earlier rows, as evaluate's own forgetting says
        limit = max(settings.max_anchor_forgetting, settings.max_forgetting)
        wider = settings.model_copy(update={"max_forgetting": limit})
        rows.append(checks.forgetting(anchor.kind, against, wider))
    return [_of(anchor, row) for row in rows]


def _of(anchor: Baseline, row: Check) -> Check:
    """The check under the anchor's name."""
    measure = row.measure.replace("production", anchor.name)
    return row.model_copy(update={"check": f"{row.check} against {anchor.name}", "measure": measure})
