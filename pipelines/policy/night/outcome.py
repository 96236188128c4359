"""The one word that a night ends with, from the verdicts of its steps. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.core.contract import NIGHTLY, Manifest, Verdict

OUTCOMES = {
    Verdict.SKIP: "skipped", Verdict.HOLD: "held", Verdict.REJECT: "rejected", Verdict.WAIT: "waiting",
}  # fmt: skip


def outcome_of(manifests: Mapping[str, Manifest]) -> tuple[str, tuple[str, ...]] | None:
    """`(outcome, reasons)` of a night, or None while it is undecided.

    The first step that did not proceed decides: skip -> skipped, hold -> held, reject -> rejected, wait ->
    waiting. When all proceeded, up to and including `register`, the night trained a candidate.
    """
    for step in NIGHTLY:
        manifest = manifests.get(step)
        if manifest and manifest.verdict is not Verdict.PROCEED:
            return OUTCOMES[manifest.verdict], (f"{step}: {'; '.join(manifest.reasons)}",)
    if set(NIGHTLY) <= set(manifests):
        return "trained", (manifests["register"].headline, *manifests["decide"].reasons)
    return None
