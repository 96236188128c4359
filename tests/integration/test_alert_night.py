"""What an alert changes about a night: `decide` really runs, over a real lake, ledger and registry."""

from datetime import UTC, date, datetime

import pytest

from pipelines.adapters.inbox import Inbox, delivery_row
from pipelines.adapters.lake import Lake
from pipelines.adapters.ledger import Ledger
from pipelines.alerts import route_now
from pipelines.config import load_config
from pipelines.contract import Verdict
from pipelines.runner import Run, run_step
from tests.interactions import make_rows
from tests.nightfall import finish

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


def test_a_night_asked_for_by_an_alert_trains_unless_a_data_fault_fires(config, home):
    assert decide(config, home, "2026-01-01")[0] is Verdict.SKIP, "50 rows are too few without a cause"
    deliver(home, "InputDrift", "drift")
    (start,) = route_now(config)[1].start
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
