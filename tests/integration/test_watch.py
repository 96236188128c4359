"""A look at live traffic on real questions: quiet, alarm, cannot conclude; ledger, report, metrics, alert."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
import uvicorn

from pipelines.core.contract import Verdict
from pipelines.core.errors import MachineError
from pipelines.core.traffic_split import Route
from pipelines.operations.watch.look import watch
from pipelines.steps import features
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Ledger
from pipelines.stores.ledger.tables import TRIGGERS, WATCHES
from tests.support.configs import TINY
from tests.support.contexts import context
from tests.support.gateways import until
from tests.support.servers import PROJECT, alertmanager, prometheus, pushgateway, query
from tests.support.watches import fill_lake, questions_of, register, send, watch_config

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC).replace(microsecond=0)
EARLIER = NOW - timedelta(days=3)
OTHER_MIX = {"Dental": 1.0, "Surgery": 1.0}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A home with a week in the lake, ordinary traffic three days ago, and another mix today."""
    config = watch_config(tmp_path_factory.mktemp("watch") / "home")
    fill_lake(config, EARLIER - timedelta(days=10), 8, 45)
    send(config, questions_of(EARLIER, 70, 5), EARLIER - timedelta(hours=20), EARLIER)
    send(config, questions_of(NOW, 70, 6, OTHER_MIX), NOW - timedelta(hours=20), NOW)
    return config


@contextmanager
def endpoint(config):
    """Nightshift's own inbox, as Airflow's API server mounts it."""
    from nightshift.endpoint.app import create_app
    from nightshift.settings import Settings

    app = create_app(Settings(Path(config.home), TINY, Path(sys.executable), config))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def rows_of(config):
    return open_ledger(config).rows(sa.select(WATCHES).order_by(WATCHES.c.at))


def test_ordinary_traffic_is_quiet_and_leaves_a_report(config):
    result = watch(config, "calm", EARLIER)
    assert (result.verdict, result.reasons) == (Verdict.PROCEED, ())
    row = next(row for row in rows_of(config) if row["id"] == "calm")
    numbers = json.loads(row["metrics"])
    assert row["verdict"] == "quiet"
    assert numbers["nightshift_watch_rows"] == 70
    assert 0.8 < numbers["nightshift_watch_negative_feedback_ratio"] < 1  # one answer in ten is right
    assert (
        0 < numbers["nightshift_watch_latency_p50_seconds"] < numbers["nightshift_watch_latency_p99_seconds"]
    )
    assert 0 < numbers["nightshift_watch_toxicity_ratio"] < 1
    columns = {column["column"] for column in numbers["columns"]}
    assert {"prompt_embedding", "completion_embedding", "wanted_label", "toxicity", "refused"} <= columns
    assert {"negative_feedback", "errors", "slow_answers"} <= columns
    methods = {column["column"]: column["method"] for column in numbers["columns"]}
    assert methods["wanted_label"] == "distance of nights, Student's t"
    assert methods["completion_label"] == "chi-square, relabelled"
    page = Path(urlsplit(row["report"]).path).read_text()
    assert "Nothing moved." in page
    assert "<svg" in page
    assert not set(page.split('"')) & {"http://", "https://"}
    assert len(page) < 200_000
    assert open_ledger(config).verify() >= 1


def test_too_few_rows_conclude_nothing_and_alarm_nobody(config, home):
    empty = watch_config(home)
    result = watch(empty, "empty", NOW)
    assert result.verdict is Verdict.SKIP
    assert [reason.split(":")[0] for reason in result.reasons] == ["input", "answer", "feedback", "serving"]
    assert all("cannot conclude" in reason for reason in result.reasons)


def test_a_new_adapter_is_held_against_its_own_first_answers(config, home):
    new = watch_config(home)
    fill_lake(new, EARLIER - timedelta(days=5), 3, 40)
    ledger = Ledger(new.path(new.ledger_url))
    made = register(new)
    ledger.add_promotion(ledger.promotion(), "production", Route(production=made), "a test", "pytest")
    now = {"adapter": made.version, "digest": made.digest}
    good = [{**row, "rating": 1, "correction": None} for row in questions_of(NOW, 70, 7)]
    send(new, good, NOW - timedelta(hours=20), NOW, **now)
    first = watch(new, "new", NOW)
    assert "answer: cannot conclude" in " ".join(first.reasons)  # no earlier answers of its own
    assert "answer: completion" not in " ".join(first.reasons)
    worse = [{**row, "completion": "Sorry, I cannot say.", "rating": -1} for row in good]
    send(new, worse, NOW + timedelta(hours=5), NOW + timedelta(hours=24), **now)
    later = watch(new, "later", NOW + timedelta(hours=25))
    said = " ".join(later.reasons)
    assert "answer: refused moved" in said
    assert "feedback: negative_feedback moved" in said


def test_failed_attempts_beyond_the_limit_alarm(config, home):
    broken = watch_config(home)
    asked = questions_of(NOW, 60, 8)
    send(broken, asked[:40], NOW - timedelta(hours=20), NOW)
    send(broken, asked[40:], NOW - timedelta(hours=19), NOW, fault="engine", completion="")
    result = watch(broken, "broken", NOW)
    assert any(reason.startswith("serving: errors moved (effect 0.33") for reason in result.reasons)


def test_the_age_of_the_online_features_is_measured(home):
    config, night = watch_config(home), (EARLIER - timedelta(days=1)).date()
    fill_lake(config, EARLIER - timedelta(days=1), 1, 40)
    features.run(context(home, config, "features", night, validate={}))
    filled = datetime(night.year, night.month, night.day, tzinfo=UTC) + timedelta(days=1)
    watch(config, "fresh", NOW)
    (row,) = rows_of(config)
    numbers = json.loads(row["metrics"])
    assert numbers["nightshift_watch_features_age_seconds"] == (NOW - filled).total_seconds()
    assert numbers["nightshift_watch_features_max_age_seconds"] == 48 * 3600


def test_a_failed_push_says_why_and_a_run_is_recorded_once(config):
    nowhere = config.model_copy(
        update={"watch": config.watch.model_copy(update={"pushgateway": "http://127.0.0.1:9"})}
    )
    with pytest.raises(MachineError, match="No Pushgateway answers at"):
        watch(nowhere, "calm", EARLIER)
    assert [row["id"] for row in rows_of(config)].count("calm") == 1


def test_drift_gets_from_the_command_to_the_inbox(config, tmp_path, monkeypatch):
    """The command, a real Pushgateway, Prometheus, Alertmanager and Nightshift's own endpoint."""
    monkeypatch.syspath_prepend(PROJECT / "plugins")
    token = Path(config.home) / "alerts" / "token"
    token.parent.mkdir()
    token.write_text("a secret")
    with (
        endpoint(config) as alerts_url,
        pushgateway(tmp_path) as pushed,
        alertmanager(tmp_path, f"{alerts_url}/alertmanager", token) as router,
        prometheus(tmp_path, {"pushgateway": pushed}, router) as url,
    ):
        settings = ["task.labels", "watch.schedule", "watch.pushgateway"]
        values = [json.dumps(list(config.task.labels)), json.dumps(config.watch.schedule), json.dumps(pushed)]
        changed = [part for pair in zip(settings, values, strict=True) for part in ("--set", "=".join(pair))]
        command = [sys.executable, "-m", "pipelines", "watch", "--config", str(TINY), "--home", config.home]
        done = subprocess.run([*command, *changed], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "alarm" in done.stdout.splitlines()[0]
        assert "input: prompt_embedding moved" in done.stdout
        alarm = 'nightshift_watch_alarm{about="input", job="nightshift_watch"} == 1'
        until(lambda: query(url, alarm), 20)
        assert query(url, 'nightshift_cpu_hours_budget_30d{job="nightshift_watch"}')
        ledger = open_ledger(config)
        until(lambda: ledger.rows(sa.select(TRIGGERS)), 30)
        (row, *_) = ledger.rows(sa.select(TRIGGERS))
        (alert, *_) = json.loads(row["alerts"])
        assert (row["source"], row["sender"]) == ("alertmanager", "nightshift")
        assert (alert["name"], alert["cause"], alert["status"]) == ("InputDrift", "drift", "firing")
        assert httpx.post(f"{alerts_url}/alertmanager", json={}, trust_env=False).status_code == 401
