"""Whole nights under a real Airflow (scheduler, API server, DAG processor); only the work is a stand-in."""

import argparse
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("airflow")
PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))

import psutil  # noqa: E402
from nightshift.local import instance as machine  # noqa: E402
from nightshift.local import main as local  # noqa: E402
from nightshift.local.api import Api  # noqa: E402
from nightshift.local.environment import airflow_home, password  # noqa: E402
from nightshift.local.follow import follow, run_of, start_night  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from pipelines.core.config import load_config  # noqa: E402
from pipelines.core.contract import NIGHTLY  # noqa: E402
from pipelines.core.errors import MachineError  # noqa: E402
from tests.support.standin import write_interpreter  # noqa: E402

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
RUNS = "/api/v2/dags/nightly_retrain/dagRuns"


def make_settings(home):
    config = PROJECT / "config" / "demo.toml"
    return Settings(home, config, write_interpreter(home / "python"), load_config(config, home))


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = make_settings(tmp_path_factory.mktemp("home"))
    local.setup(settings)
    return settings


@pytest.fixture(scope="module")
def instance(settings):
    instance = machine.start(settings, machine.free_port(), 0, attached=True)
    yield instance
    machine.stop(instance)


@pytest.fixture(scope="module")
def api(instance, settings):
    return Api(instance.url, password(settings))


def run_night(api, settings, night, script, **conf):
    (settings.home / "script.json").write_text(json.dumps(script))
    run_id = start_night(api, {"night": night, **conf})
    return run_id, follow(api, run_id)


def states(api, run_id):
    return {t["task_id"]: t["state"] for t in tasks(api, run_id).values()}


def tasks(api, run_id):
    return {t["task_id"]: t for t in run_of(api, run_id, "/taskInstances?limit=100")["task_instances"]}


def outcome(found):
    return [
        name for name in ("trained", "skipped", "held", "rejected", "waiting") if found[name] == "success"
    ]


def test_a_night_that_trains(api, settings, capsys):
    run_id, night = run_night(api, settings, "2026-01-01", {}, force=True)
    assert night.succeeded
    found = states(api, run_id)
    assert {found[step] for step in (*NIGHTLY, "report", "record")} == {"success"}
    assert outcome(found) == ["trained"]
    assert run_of(api, run_id)["note"] == "record is done"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["ingest", "validate"]
    assert len(lines) == len(NIGHTLY) + 2
    ledger = sqlite3.connect(settings.home / "ledger.db")
    events = ledger.execute("select task_id, state from task_events where run_id = ?", [run_id]).fetchall()
    assert {("train", "running"), ("train", "success"), ("", "success")} <= set(events)
    assert "decide 2026-01-01-" in (settings.home / "calls.txt").read_text()


@pytest.mark.parametrize(
    ("night", "step", "verdict", "row"),
    [
        ("2026-01-02", "validate", "hold", "held"),
        ("2026-01-03", "decide", "skip", "skipped"),
        ("2026-01-04", "gate", "reject", "rejected"),
    ],
)
def test_a_verdict_stops_what_follows_and_shows_in_the_grid(api, settings, night, step, verdict, row):
    run_id, result = run_night(api, settings, night, {step: verdict})
    assert result.succeeded
    found, order = states(api, run_id), list(NIGHTLY)
    after = order[order.index(step) + 1 :]
    assert {found[name] for name in after} == {"skipped"}
    assert {found[name] for name in (step, "report", "record")} == {"success"}
    assert outcome(found) == [row]
    assert tasks(api, run_id)[step]["note"].startswith(f"{verdict}: ")
    assert f"{step}: {verdict}: " in run_of(api, run_id)["note"]


def test_a_fault_fails_the_night_with_its_sentence(api, settings, capsys):
    run_id, night = run_night(api, settings, "2026-01-05", {"features": "fault"})
    assert not night.succeeded
    found = tasks(api, run_id)
    assert (found["features"]["state"], found["features"]["try_number"]) == ("failed", 1)
    assert {found[name]["state"] for name in ("decide", "train", "record", "trained")} == {"upstream_failed"}
    assert found["report"]["state"] == "success"
    sentence = "fault: It rains in features. Take an umbrella."
    assert found["features"]["note"] == sentence
    assert sentence in run_of(api, run_id)["note"]
    assert f"features  {sentence}" in capsys.readouterr().out


def test_a_crash_is_tried_once_more(api, settings):
    run_id, night = run_night(api, settings, "2026-01-06", {"ingest": "crash"})
    assert not night.succeeded
    assert tasks(api, run_id)["ingest"]["try_number"] == 2


def test_clearing_a_step_runs_it_and_what_follows_again(api, settings):
    run_id, _ = run_night(api, settings, "2026-01-07", {"decide": "hold"})
    (settings.home / "script.json").write_text("{}")
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["decide"], "include_downstream": True}
    api.call("/api/v2/dags/nightly_retrain/clearTaskInstances", {**body, "only_failed": False})
    assert follow(api, run_id).succeeded
    assert outcome(states(api, run_id)) == ["trained"]
    assert not tasks(api, run_id)["decide"]["note"]
    assert "hold" not in run_of(api, run_id)["note"]


@pytest.mark.parametrize("conf", [{"epochs": 0}, {"night": "soon"}, {"force": "yes"}])
def test_a_senseless_trigger_is_refused(api, conf):
    with pytest.raises(MachineError, match="400"):
        start_night(api, conf)


def test_only_loopback_is_bound_and_a_password_is_asked(api, instance, settings):
    guard = psutil.Process(instance.pid)
    listening = [
        connection.laddr.ip
        for process in [guard, *guard.children(recursive=True)]
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(instance.url + RUNS)
    for name in ("passwords.json", "keys.json"):
        assert stat.S_IMODE((airflow_home(settings) / name).stat().st_mode) == 0o600


def test_up_says_that_one_is_running(instance, settings):
    arguments = argparse.Namespace(port=machine.free_port(), mlflow_port=machine.free_port())
    with pytest.raises(MachineError, match=rf"already, at {instance.url}. End it with `make down`"):
        local.up(settings, arguments)


def test_up_says_that_a_port_is_taken(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    settings = make_settings(home)
    (airflow_home(settings)).mkdir()
    (airflow_home(settings) / "ready").touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = _local(settings, "up", "--port", str(port))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"Port {port} cannot be used: Address already in use." in done.stderr


def test_a_server_that_cannot_run_is_named(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    settings = make_settings(home)
    local.setup(settings)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(MachineError, match="ended on its own: api-server"):
            machine.start(settings, taken.getsockname()[1], mlflow_port=0, attached=True)


def test_down_without_up_and_a_stale_file(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    settings = make_settings(home)
    airflow_home(settings).mkdir()
    (airflow_home(settings) / "instance.json").write_text('{"pid": 1, "port": 1, "mlflow_port": 0}')
    done = _local(settings, "down")
    assert (done.returncode, done.stdout) == (0, "nothing was running\n")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_nightly_and_the_next_one_goes_on(tmp_path, ending):
    home = tmp_path / "home"
    home.mkdir()
    settings = make_settings(home)
    (home / "script.json").write_text('{"curate": "sleep deaf"}')
    nightly = subprocess.Popen(_command("nightly"), env=_environment(settings), stdout=subprocess.DEVNULL)
    assert _within(240, (home / "curate.pid").exists)
    family = [nightly, *psutil.Process(nightly.pid).children(recursive=True)]
    assert len(family) > 5
    nightly.send_signal(ending)
    nightly.wait(30)
    assert _within(30, lambda: not any(psutil.pid_exists(process.pid) for process in family[1:]))
    (home / "script.json").write_text("{}")
    done = _local(settings, "nightly")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continuing the unfinished run" in done.stdout
    assert "record    proceed" in done.stdout
    assert "Airflow's own" in done.stdout


def _local(settings, *words):
    return subprocess.run(_command(*words), env=_environment(settings), capture_output=True, text=True)


def _command(*words):
    return [sys.executable, "-m", "nightshift.local", *words]


def _environment(settings):
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}",
        "NIGHTSHIFT_HOME": str(settings.home),
        "NIGHTSHIFT_CONFIG": str(settings.config_path),
        "NIGHTSHIFT_PYTHON": str(settings.python),
    }


def _within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
