"""The gate step with a real ledger: it counts earlier questions and states its promise and its baseline."""

import pytest

from pipelines.core.config import Config
from pipelines.core.contract import Manifest, Verdict
from pipelines.runner import run_step
from pipelines.stores.ledger import Ledger
from pipelines.stores.runs import Run
from tests.support.facts import group
from tests.support.nightfall import finish

SUITE = "a" * 64


def night(home, gains, safety="safe", run_id="2026-01-09", **measured):
    run = Run(f"{home}/runs/{run_id}")
    paired = {"n": 240, "both": 20, "only_production": 10, "only_candidate": gains, "neither": 210 - gains}
    finish(run, "decide", {"baseline": {"kind": "base"}})
    finish(run, "train", {})
    latency = {"production": 50.0, "candidate": 51.0, "ratio": 1.02}
    finish(
        run,
        "evaluate",
        {"suite_digest": SUITE, "paired": paired, **measured},
        readings={"latency_ms": latency},
    )
    finish(run, "fairness", {"stereotype": [group("not worse")], "slices": [], "answer": "not worse"})
    finish(run, "safety", {"answer": safety, "reasons": []})
    return run


def ask(home, run, **gate) -> Manifest:
    run_step("gate", run.folder.uri, Config(profile="test", home=str(home), gate=gate))
    return run.manifest("gate")


def decided(home, run_id, suite):
    facts = {"cause": "schedule"} | ({"suite_digest": suite} if suite else {})
    document = {"run_id": run_id, "night": run_id[:10], "outcome": "rejected", "facts": facts}
    document |= {"reasons": [], "evidence": {}, "ledger_head": ""}
    Ledger(f"sqlite:///{home}/ledger.db").add_decision(document, "unsigned")


def test_a_better_candidate_proceeds_and_the_bare_base_is_named(home):
    found = ask(home, night(home, gains=60))
    assert found.verdict is Verdict.PROCEED, found.reasons
    assert (found.facts["asks_before"], found.facts["alpha_tonight"]) == (0, 17.5 * 0.5 / 400)
    assert found.facts["promise"].startswith("In any 365 nights at most 0.5 candidates")
    assert "no adapter is in production" in found.facts["rows"][0]["detail"]
    assert found.facts["suite_digest"] == SUITE
    assert found.readings["latency"]["value"] == 1.02
    assert {row["answer"] for row in found.facts["rows"]} == {"pass"}


def test_questions_on_many_nights_leave_one_nights_share(home):
    for day in range(30):
        decided(home, f"2025-12-{day + 1:02}", SUITE if day % 2 else "b" * 64)
    for day in range(1, 9):
        decided(home, f"2026-01-{day:02}", SUITE)
    assert ask(home, night(home, gains=36)).facts["alpha_tonight"] == pytest.approx(0.5 / 400, rel=0.01)
    decided(home, "2026-01-09-alert", SUITE)
    run = night(home, gains=36)
    run_step("gate", run.folder.uri, Config(profile="test", home=str(home)), rerun=True)
    assert run.manifest("gate").facts["alpha_tonight"] == pytest.approx(0.25 / 400, rel=0.01)


def test_familywise_every_earlier_ask_of_the_suite_raises_the_bar(home):
    for day in range(1, 8):
        decided(home, f"2026-01-0{day}", SUITE)
    decided(home, "2026-01-08", "b" * 64)  # another suite
    decided(home, "2026-01-08-early", None)  # skipped before any gate
    decided(home, "2026-01-09-forced", SUITE)  # the same night, run once more: it asks again
    found = ask(home, night(home, gains=33), error_rate="familywise")
    assert found.facts["asks_before"] == 8
    assert found.facts["alpha_tonight"] == pytest.approx(0.05 / 90)
    assert found.verdict is Verdict.REJECT
    fresh = home / "fresh"
    fresh.mkdir()
    assert ask(fresh, night(fresh, gains=33), error_rate="familywise").verdict is Verdict.PROCEED


def test_renewing_a_part_of_the_suite_gives_nothing_back(home):
    """Seven questions went to the suite before a fifth of it was renewed, and one to another suite."""
    for day in range(1, 8):
        decided(home, f"2026-01-0{day}", "c" * 64)
    decided(home, "2026-01-08", "b" * 64)
    suite = {"items": 240, "since": "2026-01-08", "before": "b" * 64, "new": 48, "kin": ["c" * 64]}
    found = ask(home, night(home, gains=33, suite=suite), error_rate="familywise")
    assert found.facts["asks_before"] == 7
    assert found.facts["alpha_tonight"] == pytest.approx(0.05 / 72)
    yearly = ask(home, night(home, gains=33, suite=suite, run_id="2026-01-09-2")).facts
    unknown = ask(home, night(home, gains=33, run_id="2026-01-09-3")).facts
    assert yearly["alpha_tonight"] == unknown["alpha_tonight"], "all suites count there"


def test_a_run_again_counts_the_same_asks(home):
    decided(home, "2026-01-08", SUITE)
    run = night(home, gains=60)
    first = ask(home, run)
    decided(home, "2026-01-09", SUITE)  # its own answer
    decided(home, "2026-01-10", SUITE)
    run_step("gate", run.folder.uri, Config(profile="test", home=str(home)), rerun=True)
    assert run.manifest("gate").digest == first.digest
    assert first.facts["asks_before"] == 1


def test_unsafe_or_unknown_rejects_with_words(home):
    found = ask(home, night(home, gains=60, safety="cannot conclude"))
    assert found.verdict is Verdict.REJECT
    assert "safety" in found.reasons[0]
