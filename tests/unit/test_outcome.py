from datetime import UTC, date, datetime

import pytest

from pipelines.core.contract import NIGHTLY, Manifest, Usage, Verdict
from pipelines.policy.night.outcome import outcome_of


def night(last, verdict, reasons=("why",)):
    """Manifests of a night whose steps proceeded up to `last`, which answered `verdict`."""
    usage = Usage(started_at=datetime(2026, 1, 2, tzinfo=UTC), seconds=1.0, cpu_seconds=1.0)
    common = {
        "run_id": "2026-01-01",
        "night": date(2026, 1, 1),
        "fingerprint": "f",
        "inputs": {},
        "outputs": {},
    }
    common |= {"metrics": {}, "facts": {}, "readings": {}, "seed": 1, "code_digest": "c", "lock_digest": "l"}
    steps = list(NIGHTLY)[: list(NIGHTLY).index(last) + 1]
    return {
        step: Manifest(
            **common,
            step=step,
            headline=f"{step} done",
            verdict=verdict if step == last else Verdict.PROCEED,
            reasons=reasons if step == last else (),
            git_commit=None,
            usage=usage,
        )
        for step in steps
    }


@pytest.mark.parametrize(
    ("last", "verdict", "outcome"),
    [
        ("validate", Verdict.HOLD, "held"),
        ("decide", Verdict.SKIP, "skipped"),
        ("gate", Verdict.REJECT, "rejected"),
        ("register", Verdict.PROCEED, "trained"),
        ("register", Verdict.SKIP, "skipped"),
    ],
)
def test_the_first_step_that_stops_decides(last, verdict, outcome):
    assert outcome_of(night(last, verdict))[0] == outcome


def test_the_reason_names_the_step():
    assert outcome_of(night("decide", Verdict.SKIP, ("12 corrections, 120 needed",)))[1] == (
        "decide: 12 corrections, 120 needed",
    )


@pytest.mark.parametrize("last", list(NIGHTLY)[:-1])
def test_a_night_that_stopped_by_a_fault_is_undecided(last):
    assert outcome_of(night(last, Verdict.PROCEED)) is None
