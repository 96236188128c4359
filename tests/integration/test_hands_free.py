"""The whole product at once and no hand on it: users ask otherwise than before, and get a new adapter.

Real: gateway, Airflow with all its DAGs, Prometheus, Alertmanager, Pushgateway, training. Small: the model,
the suites, the bakes. Played: the users.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from deploy.local.demo.traffic import Traffic
from pipelines.core.config import load_config
from pipelines.operations.verify import verify
from pipelines.runner import run_step
from pipelines.sample.prepare import prepare_suite
from pipelines.sample.workload import write_night
from pipelines.stores import open_ledger
from pipelines.stores.ledger.tables import RULINGS, TASK_EVENTS, TRIGGERS
from tests.support import tiny
from tests.support.kept import share_heads
from tests.support.servers import alertmanager, prometheus, pushgateway, query

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PROJECT = Path(__file__).parents[2]
CONTROL = PROJECT / ".venv-airflow" / "bin" / "python"
PATIENCE_S = 800
BEFORE = (date(2026, 1, 1), date(2026, 1, 2))
AFTER_THE_SHIFT = 9 * 70  # nights of the sample, rows of each
NEVER = '[watch]\nschedule = ""\n'
WATCH = """[watch]
schedule = "* * * * *"
alpha_day = 0.99  # of 1,440 runs: a smaller one asks each for more relabellings
pushgateway = "{}"
"""
PROFILE = """
schedule = ""
{small}
[model]
base = "{base}"
[ingest]
kind = "gateway"
[gateway.limits]
requests_per_minute = 1_000_000
tokens_per_day = 1_000_000_000
[promote]
approval = false
interval_s = 5
answers_per_person = 0
[[promote.stages]]
name = "shadow"
bake_s = 0
min_answers = 30
guards = ["errors", "refusals"]
[[promote.stages]]
name = "canary"
weight = 0.5
bake_s = 0
min_answers = 30
min_rated = 20
margin = 0.4
guards = ["errors", "refusals"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hands-free")


@pytest.fixture(scope="module")
def config(folder, pushed):
    """A home with a tiny model that nobody has trained yet, and two nights of what users asked before."""
    home, profile = folder / "home", folder / "profile.toml"
    base = tiny.make_base(folder / "base")
    small = (PROJECT / "tests" / "support" / "tiny.toml").read_text().replace(NEVER, WATCH.format(pushed))
    profile.write_text(PROFILE.format(small=small, base=base))
    sample = load_config(profile, home, {"ingest.kind": "sample"})
    prepare_suite(sample)
    share_heads(home)
    for night in BEFORE:
        write_night(sample, night)
        for step in ("ingest", "validate"):
            run_step(step, f"{home}/runs/{night}", sample)
    return load_config(profile, home)


@pytest.fixture(scope="module")
def pushed(folder):
    with pushgateway(folder) as url:
        yield url


def ledger_of(config):
    return open_ledger(config)


@contextmanager
def served(config):
    """A gateway as `make serve` starts it; its address."""
    log = Path(config.home) / "gateway.log"
    command = [sys.executable, "-m", "gateway", "--set", "gateway.port=0"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment(config), stderr=output)
    try:
        yield wait(lambda: ready(log), 60)
    finally:
        process.terminate()
        process.wait(60)


def ready(log):
    said = [json.loads(line)["message"] for line in log.read_text().splitlines() if line.endswith("}")]
    url = next((words.rpartition(" ")[2] for words in said if words.startswith("listening on")), None)
    return url if any("is live" in words for words in said) else None


def environment(config):
    home = Path(config.home)
    ours = {"NIGHTSHIFT_HOME": str(home), "NIGHTSHIFT_CONFIG": str(home.parent / "profile.toml")}
    ours |= {"NIGHTSHIFT_PYTHON": sys.executable, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'plugins'}"}
    return os.environ | ours


@contextmanager
def airflow(config, port):
    """Airflow as `make up` starts it, with `promote` switched on."""

    def local(*words):
        command = [CONTROL, "-m", "nightshift.local", *words]
        done = subprocess.run(command, env=environment(config), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    local("setup")
    local("up", f"--port={port}", f"--mlflow-port={free_port()}")
    try:
        switch_on(config, f"http://127.0.0.1:{port}", "promote")
        yield f"http://127.0.0.1:{port}"
    finally:
        local("down")


def switch_on(config, url, dag_id):
    passwords = json.loads((Path(config.home) / "airflow" / "passwords.json").read_text())
    (person, password), *_ = passwords.items()
    token = call(f"{url}/auth/token", {"username": person, "password": password})["access_token"]
    dag = f"{url}/api/v2/dags/{dag_id}"
    wait(lambda: call(f"{url}/api/v2/dags?dag_ids={dag_id}&paused=true", token=token).get("dags"), 60)
    call(dag, {"is_paused": False}, token, "PATCH")


def call(url, body=None, token="", method=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(
        urllib.request.Request(url, data, headers, method=method), timeout=60
    ) as answer:
        return json.loads(answer.read())


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def in_rollout(config):
    return ledger_of(config).promotion().route.in_rollout


def wait(holds, seconds):
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def story(config, folder, pushed):
    """Users ask, from the other mix of subjects, until an adapter answers everyone."""
    port = free_port()
    with served(config) as gateway, airflow(config, port) as url:
        endpoint, token = f"{url}/nightshift/alerts/alertmanager", Path(config.home) / "alerts" / "token"
        targets = {"nightshift_gateway": gateway, "pushgateway": pushed}
        with alertmanager(folder, endpoint, token) as alerts, prometheus(folder, targets, alerts) as metrics:
            traffic = Traffic(config, gateway, AFTER_THE_SHIFT)
            end = time.monotonic() + PATIENCE_S
            while not traffic.answered or traffic.answered[-1].adapter == "base" or in_rollout(config):
                assert time.monotonic() < end, ledger_of(config).promotions()
                traffic.send(6)
                time.sleep(0.3)
            yield traffic, query(metrics, 'nightshift_watch_alarm{about="input"}')


def test_drift_in_live_traffic_leads_to_a_new_adapter(config, story):
    traffic, alarms = story
    ledger = ledger_of(config)
    production = ledger.promotion().route.production
    assert [move.move for move in ledger.promotions()] == ["shadow", "canary", "production"]
    assert traffic.answered[-1].adapter == production.version
    decision = ledger.decisions()[-1]
    assert decision.outcome == "trained"
    assert any("InputDrift" in reason for reason in decision.reasons)
    assert decision.facts["registered_version"] == production.version
    assert alarms[0]["value"][1] == "1"


def test_each_link_of_the_chain_is_on_record(config, story):
    """Alert, ruling, night and moves name each other; the ledger and all files verify."""
    ledger = ledger_of(config)
    rulings = [dict(row) for row in ledger.rows(sa.select(RULINGS).where(RULINGS.c.action == "retrain"))]
    assert len(rulings) == 1
    (ruling,) = rulings
    delivered = {row["id"] for row in ledger.rows(sa.select(TRIGGERS))}
    assert delivered.issuperset(json.loads(ruling["triggers"]))
    events = ledger.rows(sa.select(TASK_EVENTS).where(TASK_EVENTS.c.run_id == ruling["dag_run_id"]))
    assert ("record", "success") in {(row["task_id"], row["state"]) for row in events}
    assert ruling["id"] == ledger.decisions()[-1].facts["ruling"]
    assert verify(config) == 0


def test_how_long_each_part_took(config, story):
    """Shown by `pytest -s`. Nothing is asserted of times but their order."""
    ledger = ledger_of(config)
    alert = min(row["received_at"] for row in ledger.rows(sa.select(TRIGGERS)))
    night = sa.select(TASK_EVENTS.c.started_at).where(TASK_EVENTS.c.dag_id == "nightly_retrain")
    starts = [row["started_at"] for row in ledger.rows(night) if row["started_at"]]
    moves = {f"in {move.move}": move.at for move in ledger.promotions()}
    times = {"alert received": alert, "night runs": min(starts), **moves}
    began = datetime.fromisoformat(alert)
    for name, at in times.items():
        print(f"{(datetime.fromisoformat(at) - began).total_seconds():>8.1f} s  {name}")
    assert list(times.values()) == sorted(times.values())
