"""Backtests of nights whose decide, gate and record really ran; what they measured is given."""

import json
from datetime import date

import pytest

from pipelines.cli.backtest import FORMER_RULES
from pipelines.cli.main import main
from pipelines.core.config import load_config
from pipelines.core.contract import Verdict
from pipelines.data.lake import Lake
from pipelines.policy.night import drift as drift_policy
from pipelines.policy.night.rules import FORMER
from pipelines.runner import run_step
from pipelines.stores.ledger import Ledger
from pipelines.stores.runs import Run
from tests.support.facts import group
from tests.support.interactions import make_rows
from tests.support.nightfall import finish

pytestmark = pytest.mark.slow
PROFILE = """
profile = "test"
[decide]
min_corrections = 100
min_corrections_on_drift = 40
"""
SAFE = {"answer": "safe", "reasons": []}
FAIR = {"stereotype": [group("not worse")], "slices": [], "answer": "not worse"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Five decided nights: trained, skipped, rejected (drift led to its training), held, skipped."""
    folder = tmp_path_factory.mktemp("backtest")
    (folder / "now.toml").write_text(PROFILE)
    home = folder / "home"
    decide_night(home, 1, labelled=130, topic=0.07, gains=60)
    decide_night(home, 2, labelled=30, topic=0.08)
    decide_night(home, 3, labelled=60, topic=0.17, gains=20)
    run = Run(f"{home}/runs/2026-01-04")
    finish(run, "ingest", {})
    finish(run, "validate", {}, verdict=Verdict.HOLD, reasons=("too few rows",))
    run_step("record", run.folder.uri, config_of(home))
    decide_night(home, 5, labelled=70, topic=0.3, drift_rows=30)
    decisions = Ledger(f"sqlite:///{home}/ledger.db").decisions()
    assert [d.outcome for d in decisions] == ["trained", "skipped", "rejected", "held", "skipped"]
    return home


def config_of(home):
    return load_config(home.parent / "now.toml", home)


def decide_night(home, day, labelled, topic, gains=0, drift_rows=200):
    """A night in which these rows came, drift was measured so, and the candidate won `gains` items of 240."""
    night, config = date(2026, 1, day), config_of(home)
    run = Run(f"{home}/runs/{night}")
    rows = make_rows(night, labelled, rating=-1, correction="Surgery")
    Lake(f"{home}/lake", 512).publish(night, rows)
    for step in ("ingest", "validate", "features"):
        finish(run, step, {})
    record_old_settings(run)
    finish(run, "drift", drift_facts(topic, drift_rows))
    if run_step("decide", run.folder.uri, config).verdict is Verdict.PROCEED:
        paired = {
            "n": 240,
            "both": 20,
            "only_production": 10,
            "only_candidate": gains,
            "neither": 210 - gains,
        }
        finish(run, "curate", {})
        finish(run, "train", {})
        latency = {"production": 50.0, "candidate": 51.0, "ratio": 1.02}
        finish(run, "evaluate", {"paired": paired}, readings={"latency_ms": latency})
        finish(run, "fairness", FAIR)
        finish(run, "safety", SAFE)
        if run_step("gate", run.folder.uri, config).verdict is Verdict.PROCEED:
            finish(run, "register", {"version": "1"})
        learn(home, run)
    run_step("record", run.folder.uri, config)


def learn(home, run):
    """Take the labels off what was trained on, so that later nights count their own rows only."""
    for night in map(date.fromisoformat, run.manifest("decide").facts["deliveries"]):
        Lake(f"{home}/lake", 512).publish(night, make_rows(night, 60, rating=None, correction=None))


def record_old_settings(run):
    """Ingest's settings as they were recorded before there was `ingest.kind`."""
    source = {"source": "{home}/sample/interactions/dt={night}/*.parquet"}
    old = run.manifest("ingest").model_copy(update={"settings": {"ingest": source}})
    run.folder.write_bytes("ingest/manifest.json", old.model_dump_json().encode())


def drift_facts(topic, rows):
    """As the drift step writes them, of three weeks; with too few rows nothing is compared."""
    nights = [f"2025-12-{day:02d}" for day in range(11, 32)]
    reference = {"source": "first nights", "nights": nights, "rows": 4_200, "rows_in_lake": 4_200}
    sides = {"reference": reference, "tonight": {"rows": rows, "rows_in_lake": rows}}
    facts = {**sides, "alpha": 0.05, "smallest_effect": 0.05, "same_model": True}
    if rows < 40:
        return {**facts, "drift": False, "rule": drift_policy.TOO_FEW, "columns": []}
    past = [round(0.02 + 0.005 * night, 4) for night in range(21)]
    found = drift_policy.judge_night(
        [
            drift_policy.ColumnDistances(name, drift_policy.INPUT, "m", (*past, tonight))
            for name, tonight in (("topic", topic), ("locale", 0.05), ("channel", 0.09))
        ],
        0.05,
        0.05,
        same_model=True,
    )
    return {**facts, "drift": found.drift, "rule": found.rule, "columns": found.columns}


def backtest(home, capsys, policy, *more):
    file = home.parent / "policy.toml"
    file.write_text(policy)
    where = ["--home", str(home), "--config", str(home.parent / "now.toml"), "--policy", str(file)]
    assert main(["backtest", *where, *more, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return found, {night["run_id"][-1]: night["answer"] for night in found["nights"]}


@pytest.mark.parametrize("policy", [PROFILE, "", "[decide]\nmin_corrections = 100\n"])
def test_the_same_policy_flips_nothing(home, capsys, policy):
    found, nights = backtest(home, capsys, policy)
    assert found["summary"] == {"nights": 5, "replayed": 5, "flipped": 0, "end_otherwise": 0, "unknown": 0}
    assert all(night["recorded"] == night["replayed"] for night in nights.values())
    assert found["not_replayed"] == []


def test_a_partial_policy_changes_what_the_night_ran_under(home, capsys):
    profile = home.parent / "now.toml"
    profile.write_text('profile = "test"\n[decide]\nmin_corrections = 20\n[train]\nepochs = 9\n')
    try:
        found, _ = backtest(home, capsys, "[gate]\nmin_improvement = 0.01\n")
        assert found["summary"]["flipped"] == 0
        assert found["not_replayed"] == []
        found, nights = backtest(home, capsys, profile.read_text())
        assert nights["2"]["replayed"] == "unknown"
        assert [change for change in found["not_replayed"] if "decide" in change] == []
    finally:
        profile.write_text(PROFILE)


def test_a_night_that_would_train_is_unknown(home, capsys):
    _, nights = backtest(home, capsys, "[decide]\nmin_corrections = 20\n")
    assert {day: night["replayed"] for day, night in nights.items()} == {
        "1": "trained", "2": "unknown", "3": "rejected", "4": "held", "5": "unknown",
    }  # fmt: skip
    (flip,) = nights["2"]["flips"]
    assert (flip["decision"], flip["recorded"], flip["replayed"]) == ("decide", "skip", "proceed")
    assert flip["why"] == "30 labelled rows; 20 are enough; would train, outcome unknown"
    found, nights = backtest(
        home, capsys, "[decide]\nmin_corrections = 1000\nmin_corrections_on_drift = 50\n"
    )
    assert [night["replayed"] for night in nights.values()] == [
        "skipped", "skipped", "rejected", "held", "skipped",
    ]  # fmt: skip
    assert found["summary"]["end_otherwise"] == 1


def test_the_gate_asks_again_with_other_margins(home, capsys):
    _, nights = backtest(home, capsys, "[gate]\nmin_improvement = 0.2\n")
    (flip,) = nights["1"]["flips"]
    assert (nights["1"]["replayed"], flip["decision"], flip["replayed"]) == ("rejected", "gate", "reject")
    assert flip["why"].startswith("improvement: fail, 0.208 [")
    assert "where the limit is 0.2 (240 items" in flip["why"]
    _, nights = backtest(home, capsys, "[gate]\nmin_improvement = -0.2\n")
    assert (nights["3"]["recorded"], nights["3"]["replayed"]) == ("rejected", "trained")
    assert nights["1"]["flips"] == []


@pytest.mark.parametrize(
    "rule",
    ["false_passes_a_year = 1e-7", 'error_rate = "familywise"\nalpha = 1e-8\nmax_instruction_loss = 1'],
)
def test_the_gate_asks_again_under_either_rule(home, capsys, rule):
    """Night 1 gained 60 and lost 10 items: such a level needs more."""
    _, nights = backtest(home, capsys, f"[gate]\n{rule}\n")
    assert [flip["decision"] for flip in nights["1"]["flips"]] == ["gate"]
    assert "improvement: fail, 0.208 [" in nights["1"]["flips"][0]["why"]


def test_drift_asks_again_at_another_level_and_decide_follows(home, capsys):
    _, nights = backtest(home, capsys, "[drift]\nalpha = 0.01\n")
    assert [flip["decision"] for flip in nights["3"]["flips"]] == ["drift", "decide"]
    assert nights["3"]["flips"][0]["why"].startswith("topic: p 0.03")
    assert nights["3"]["flips"][0]["why"].endswith("(Student's t)"), (
        "21 nights are too few to be ranked at 1%"
    )
    assert nights["3"]["replayed"] == "skipped"
    found, nights = backtest(home, capsys, "[drift]\nsmallest_effect = 0.12\n")
    assert [flip["decision"] for flip in nights["3"]["flips"]] == ["drift", "decide"]
    assert "0.1 farther than usual, where 0.12 counts" in nights["3"]["flips"][0]["why"]
    assert found["not_replayed"] == []


def test_tests_that_were_never_made_are_no_answer(home, capsys):
    _, nights = backtest(home, capsys, "[drift]\nmin_rows = 20\n")
    assert [flip["replayed"] for flip in nights["5"]["flips"]] == ["unknown", "unknown"]
    _, nights = backtest(home, capsys, "[drift]\nmin_rows = 20\n[decide]\nmin_corrections_on_drift = 90\n")
    assert (nights["5"]["replayed"], len(nights["5"]["flips"])) == ("skipped", 1)  # drift or not: skipped


def test_what_needs_work_again_is_named(home, capsys):
    found, _ = backtest(
        home, capsys, "[train]\nepochs = 5\n[fairness]\nmargin = 0.2\n[decide]\nforce = true\n"
    )
    assert found["not_replayed"] == [
        "decide.force: False -> True", "fairness.margin: 0.1 -> 0.2", "train.epochs: 2 -> 5",
    ]  # fmt: skip
    assert found["summary"]["flipped"] == 0


def test_the_table_and_the_days_asked_for(home, capsys):
    policy = home.parent / "policy.toml"
    policy.write_text("[gate]\nmin_improvement = 0.2\n[decide]\nmin_corrections = 20\n")
    where = ["--home", str(home), "--config", str(home.parent / "now.toml"), "--policy", str(policy)]
    assert main(["backtest", *where, "--to", "2026-01-02"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:6] == ["2026-01-01", "trained", "rejected", "gate:", "proceed", "->"]
    assert lines[2].split()[:3] == ["2026-01-02*", "skipped", "unknown"]
    assert lines[4].startswith("2 of 2 nights end otherwise, 1 of them unknown: only a training could tell")
    assert main(["backtest", *where, "--from", "2027-01-01"]) == 2
    assert "No night was decided" in capsys.readouterr().err


def test_former_rules_are_shown_beside_todays(home, capsys):
    where = ["backtest", "--home", str(home), "--config", str(home.parent / "now.toml"), "--rules", "0.1"]
    assert main([*where, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["summary"]["end_otherwise"] == 0
    assert [night["former"]["replayed"] for night in found["nights"]] == [
        "trained", "skipped", "unknown", "held", "skipped",
    ]  # fmt: skip
    drift, decided = found["nights"][2]["former"]["flips"]
    assert (drift["decision"], drift["replayed"], decided["replayed"]) == ("drift", "unknown", "unknown")
    assert found["former_summary"] | {"nights": 0, "replayed": 0} == {
        "nights": 0, "replayed": 0, "flipped": 3, "end_otherwise": 1, "unknown": 1,
    }  # fmt: skip
    assert main(where) == 0
    shown = capsys.readouterr().out
    assert shown.count("  rules of 0.1 ") == 1
    assert "  rules of 0.1                 unknown   drift: drift -> unknown" in shown
    assert "today's rules: 0 of 5 nights end otherwise; 0 with a decision that flips." in shown
    assert "rules of 0.1: 1 of 5 nights end otherwise, 1 of them unknown" in shown


def test_every_version_that_can_be_asked_has_rules():
    assert set(FORMER_RULES) == set(FORMER)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[decide]\nmin_correction = 1\n[gate]\nalpha = 2", "no such setting; gate.alpha: "),
        ("seed = 'x'\nnowhere = 1\n[decide]\n", "nowhere: no such setting"),
        ("[decide", "is not TOML"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(home, capsys, text, said):
    policy = home.parent / "wrong.toml"
    policy.write_text(text)
    where = ["--home", str(home), "--config", str(home.parent / "now.toml")]
    assert main(["backtest", *where, "--policy", str(policy)]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_is_no_policy(home, capsys):
    where = ["--home", str(home), "--config", str(home.parent / "now.toml")]
    assert main(["backtest", *where, "--policy", str(home)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_night_whose_record_was_changed_is_not_replayed(home, capsys):
    file = home / "runs" / "2026-01-02" / "decide" / "manifest.json"
    kept = file.read_text()
    file.write_text(kept.replace('"new_corrections": 30', '"new_corrections": 300'))
    try:
        found, nights = backtest(home, capsys, "")
    finally:
        file.write_text(kept)
    assert nights["2"] is None
    assert found["nights"][1]["note"] == "the manifest of decide is gone or is not the one recorded"
    assert found["summary"]["replayed"] == 4
