"""What an alert changes about a night: `decide` really runs, over a real lake, ledger and registry."""

from datetime import UTC, date, datetime, timedelta

import pytest

from pipelines.core.config import load_config
from pipelines.core.contract import Verdict
from pipelines.data.journal_delivery import deliver as deliver_journal
from pipelines.data.lake import Lake
from pipelines.operations.dispatch_alerts import dispatch
from pipelines.runner import run_step
from pipelines.stores.inbox import Inbox, delivery_row
from pipelines.stores.ledger import Ledger
from pipelines.stores.runs import Run
from tests.support.interactions import make_rows
from tests.support.nightfall import finish
from tests.support.watches import send

pytestmark = pytest.mark.slow  # MLflow
NIGHT = date(2026, 1, 1)
PROFILE = 'profile = "test"\n[decide]\nmin_corrections = 100\nmin_corrections_on_drift = 40\n'


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
    assert "since the last training" in manifest.reasons[0]

    late = make_rows(
        NIGHT, 120, seed=1, rating=-1, correction="Surgery"
    )  # of the same day, but after the alert
    lake.publish(NIGHT + timedelta(days=1), late)
    verdict, manifest = decide(config, home, "2026-01-02")
    assert (verdict, manifest.facts["new_corrections"]) == (Verdict.PROCEED, 120)


def test_another_attempt_learns_what_the_first_did(config, home):
    Lake(f"{home}/lake", 512).publish(NIGHT, make_rows(NIGHT, 150, rating=-1, correction="Surgery"))
    record(Ledger(f"sqlite:///{home}/ledger.db"), "2026-01-01", "schedule")
    assert decide(config, home, "2026-01-01-2")[0] is Verdict.PROCEED


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


def record(ledger, run_id, cause):
    document = {"run_id": run_id, "night": str(NIGHT), "outcome": "trained", "reasons": [], "evidence": {}}
    ledger.add_decision(document | {"facts": {"cause": cause}, "ledger_head": ""}, "")
