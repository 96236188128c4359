import pytest

from pipelines.core.contract import NIGHTLY, Verdict
from pipelines.policy.night.outcome import outcome_of
from tests.support.manifests import make_manifest


def night(last, verdict, reasons=("why",)):
    """Manifests of a night whose steps proceeded up to `last`, which answered `verdict`."""
    steps = list(NIGHTLY)[: list(NIGHTLY).index(last) + 1]
    proceeded = {step: make_manifest(step, headline=f"{step} done") for step in steps[:-1]}
    return proceeded | {last: make_manifest(last, headline=f"{last} done", verdict=verdict, reasons=reasons)}


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
