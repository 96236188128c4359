"""What an alert changes about a night: `decide` really runs, over a real lake, ledger and registry."""

from datetime import UTC, date, datetime, timedelta

import pytest

from pipelines.core.config import load_config
from pipelines.core.contract import Verdict
from pipelines.core.traffic_split import rolled_back, to_production, to_shadow
from pipelines.data.journal_delivery import deliver as deliver_journal
from pipelines.data.lake import Lake
from pipelines.operations.anchor import choose_anchor, remove_anchor
from pipelines.operations.dispatch_alerts import dispatch
from pipelines.runner import run_step
from pipelines.stores.inbox import Inbox, delivery_row
from pipelines.stores.ledger import Ledger
from pipelines.stores.runs import Run
from tests.support.interactions import make_rows
from tests.support.nightfall import finish
from tests.support.watches import register, send

pytestmark = pytest.mark.slow  # MLflow
NIGHT = date(2026, 1, 1)
PROFILE = """
profile = "test"
register.name = "router"
[decide]
min_corrections = 100
min_corrections_on_drift = 40
"""


@pytest.fixture
def config(home):
    (home / "test.toml").write_text(PROFILE)
    Lake(f"{home}/lake", 512).publish(NIGHT, make_rows(NIGHT, 50, rating=-1, correction="Surgery"))
    return load_config(home / "test.toml", home)


def deliver(home, name, cause, status="firing"):
    alert = {"name": name, "status": status, "cause": cause, "severity": "warning", "labels": {}}
    alert |= {"annotations": {}, "starts_at": None, "ends_at": None, "fingerprint": ""}
    row = delivery_row("json", "test", [alert], (name.encode(), status.encode()), "", datetime.now(UTC))
    Inbox(Ledger(f"sqlite:///{home}/ledger.db")).deliver(row)


def decide(config, home, run_id, **asked):
    """The verdict and the manifest of this night, asked for with these settings."""
    run = Run(f"{home}/runs/{run_id}")
    for step in ("ingest", "validate", "features"):
        finish(run, step, {})
    finish(run, "drift", {"drift": False})
    changed = config.model_copy(update={"decide": config.decide.model_copy(update=asked)})
    return run_step("decide", run.folder.uri, changed).verdict, run.manifest("decide")


def test_an_alerts_night_trains_unless_a_data_fault_fires(config, home):
    assert decide(config, home, "2026-01-01")[0] is Verdict.SKIP, "50 rows are too few without a cause"
    deliver(home, "InputDrift", "drift")
    (start,) = dispatch(config)[1].start
    asked = {"cause": start.conf["cause"], "ruling": start.conf["ruling"]}

    deliver(home, "Nulls", "data_fault")
    verdict, manifest = decide(config, home, "2026-01-01-alert", **asked)
    assert (verdict, manifest.facts["data_faults"]) == (Verdict.HOLD, ["Nulls"])
    assert "Nulls" in manifest.reasons[0]
    assert decide(config, home, "2026-01-01-forced", force=True)[0] is Verdict.PROCEED

    deliver(home, "Nulls", "data_fault", "resolved")
    verdict, manifest = decide(config, home, "2026-01-01-alert", **asked)
    assert (verdict, manifest.facts["ruling"]) == (Verdict.PROCEED, start.conf["ruling"])
    assert "'InputDrift'" in manifest.reasons[0]


def test_the_scheduled_night_skips_what_an_alert_trained(config, home):
    lake = Lake(f"{home}/lake", 512)
    lake.publish(NIGHT, make_rows(NIGHT, 150, rating=-1, correction="Surgery"))
    asked, ledger = {"cause": "alert:InputDrift"}, Ledger(f"sqlite:///{home}/ledger.db")
    assert decide(config, home, "2026-01-01-alert", **asked)[0] is Verdict.PROCEED
    record(ledger, "2026-01-01-alert", "alert:InputDrift")
    verdict, manifest = decide(config, home, "2026-01-01")
    assert (verdict, manifest.facts["nights_since_training"]) == (Verdict.SKIP, 0)
    assert "No labelled row is new" in manifest.reasons[0]

    late = make_rows(
        NIGHT, 120, seed=1, rating=-1, correction="Surgery"
    )  # of the same day, but after the alert
    lake.publish(NIGHT + timedelta(days=1), late)
    verdict, manifest = decide(config, home, "2026-01-02")
    assert (verdict, manifest.facts["new_corrections"]) == (Verdict.PROCEED, 270)
    assert manifest.facts["tried"] == 150, "the alert's candidate is not in production, so its rows count"


def test_an_alert_skips_what_the_schedule_trained(config, home):
    lake = Lake(f"{home}/lake", 512)
    lake.publish(NIGHT, make_rows(NIGHT, 150, rating=-1, correction="Surgery"))
    record(Ledger(f"sqlite:///{home}/ledger.db"), "2026-01-01", "schedule", deliveries=lake.deliveries(NIGHT))
    asked = {"cause": "alert:InputDrift"}
    assert decide(config, home, "2026-01-01-alert", **asked)[0] is Verdict.SKIP
    assert decide(config, home, "2026-01-01-2")[0] is Verdict.SKIP, "neither does another attempt"
    verdict, manifest = decide(config, home, "2026-01-01-forced", force=True)
    assert (verdict, manifest.facts["tried"]) == (Verdict.PROCEED, 150)

    lake.publish(NIGHT, make_rows(NIGHT, 160, rating=-1, correction="Surgery"))  # another delivery
    verdict, manifest = decide(config, home, "2026-01-01-mended")
    assert (verdict, manifest.facts["tried"]) == (Verdict.PROCEED, 0)


def test_tried_and_missed_rows_count_until_they_are_learned(config, home):
    """150 rows a night: the first trained and promoted, the second missed, the third trained; then 5 rows."""
    lake, ledger = Lake(f"{home}/lake", 512), Ledger(f"sqlite:///{home}/ledger.db")
    first, missed, third, fourth = (NIGHT + timedelta(days=n) for n in range(4))
    for night, rows in ((first, 150), (third, 150), (fourth, 5)):
        lake.publish(night, make_rows(night, rows, rating=-1, correction="Surgery"))
    one = register(config)
    of_third = {third: lake.deliveries(third)[third]}
    record(ledger, str(first), "schedule", deliveries=lake.deliveries(first), adapter_digest=one.digest)
    record(ledger, str(third), "schedule", deliveries=of_third, adapter_digest="b")
    shadow = to_shadow(ledger.promotion().route, one)
    ledger.add_promotion(ledger.promotion(), "shadow", shadow, "", "ann")
    ledger.add_promotion(ledger.promotion(), "production", to_production(shadow, one), "", "ann")
    facts = decide(config, home, str(fourth))[1].facts
    assert (facts["new_corrections"], facts["tried"]) == (155, 150)
    assert facts["tried_nights"] == [str(third)]
    assert set(facts["deliveries"]) == {str(third), str(fourth)}
    assert (facts["baseline"]["version"], facts["anchors"]) == ("1", [{"kind": "base"}])

    lake.publish(missed, make_rows(missed, 70, rating=-1, correction="Surgery"))  # caught up late
    facts = decide(config, home, f"{fourth}-2")[1].facts
    assert (facts["new_corrections"], facts["tried"]) == (225, 150)

    ledger.add_promotion(ledger.promotion(), "rollback", rolled_back(ledger.promotion().route), "", "ann")
    facts = decide(config, home, f"{fourth}-3")[1].facts
    assert (facts["new_corrections"], facts["tried"]) == (375, 300)
    assert (facts["baseline"]["kind"], facts["anchors"]) == ("base", [])

    facts = decide(config, home, str(third))[
        1
    ].facts  # the same run once more: its own training is no earlier one
    assert (facts["new_corrections"], facts["tried"]) == (370, 150)

    assert "version 1: it was good (ann" in choose_anchor(config, "1", "ann", "it was good")
    facts = decide(config, home, f"{fourth}-4")[1].facts
    assert [(a["version"], a["digest"]) for a in facts["anchors"]] == [("1", one.digest)]
    remove_anchor(config, "ann", "no more")
    assert decide(config, home, f"{fourth}-5")[1].facts["anchors"] == []


def test_an_alert_before_the_schedule_reads_the_due_night(config, home):
    """Otherwise the alert's night would take its answers along, and leave it empty."""
    now = datetime.now(UTC)
    today, yesterday = now.date(), now.date() - timedelta(days=1)
    config = config.model_copy(update={"ingest": config.ingest.model_copy(update={"kind": "gateway"})})
    no_schedule = config.model_copy(update={"schedule": ""})
    a_day_ago = now - timedelta(days=1)
    send(config, make_rows(yesterday, 1).to_pylist(), a_day_ago, a_day_ago)
    deliver(home, "InputDrift", "drift")

    def asked(settings):
        return {start.conf["night"] for start in dispatch(settings)[1].start}

    assert asked(no_schedule) == {str(today)}, "no night is due"
    assert asked(config) == {str(yesterday)}
    deliver_journal(config, yesterday)
    assert asked(config) == {str(today)}


def record(ledger, run_id, cause, deliveries=None, **facts):
    """A night that trained. Without `deliveries` it is one of an older version."""
    document = {"run_id": run_id, "night": run_id[:10], "outcome": "trained", "reasons": [], "evidence": {}}
    if deliveries:
        facts["deliveries"] = {str(night): digest for night, digest in deliveries.items()}
    ledger.add_decision(document | {"facts": {"cause": cause, **facts}, "ledger_head": ""}, "")
