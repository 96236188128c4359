"""kill -9 at every step, then rerun: the same manifests, nothing lost, nothing twice."""

import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.data.lake import Lake
from pipelines.runner import run_step
from pipelines.stores.attempts import ATTEMPTS
from pipelines.stores.ledger import Ledger
from pipelines.stores.runs import Run
from tests.support import tiny

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NIGHT = date(2026, 1, 1)
STEPS = (*NIGHTLY, *CLOSING)
RUN = f"runs/{NIGHT}"


def start(step, home, *more):
    where = ["--config", str(home.parent / "config.toml"), "--home", str(home)]
    command = [sys.executable, "-m", "pipelines", step, *where, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


def kill_at_work(step, home, seconds):
    """Kill the step so long after it began to write; returns whether it was still at work."""
    process = start(step, home, "--run-dir", str(home / RUN))
    while process.poll() is None and not list((home / RUN / ATTEMPTS).glob(f"{step}.*")):
        time.sleep(0.005)
    time.sleep(seconds)
    alive = process.poll() is None
    process.kill()  # SIGKILL
    process.communicate()
    return alive


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Two equal homes: in one each step runs undisturbed, in the other each is killed once first."""
    folder = tmp_path_factory.mktemp("kill")
    calm, killed = folder / "calm", folder / "killed"
    base = tiny.make_base(folder / "base")
    profile = Path("tests/support/tiny.toml").read_text()
    (folder / "config.toml").write_text(f'{profile}\n[model]\nbase = "{base}"\n')
    finish(start("prepare", calm))
    finish(start("sample", calm, "--night", str(NIGHT)))
    shutil.copytree(calm, killed)
    config, alive = load_config(folder / "config.toml", calm), []
    for step in STEPS:
        seconds = run_step(step, str(calm / RUN), config).seconds
        alive.append(kill_at_work(step, killed, seconds * 0.5))
        finish(start(step, killed, "--run-dir", str(killed / RUN)))
    return calm, killed, alive


def run_of(home):
    return Run(str(home / RUN))


def test_most_steps_were_killed_at_work(nights):
    assert sum(nights[2]) >= len(STEPS) - 3


@pytest.mark.parametrize("step", [step for step in STEPS if step != "report"])  # the page shows clock times
def test_the_manifest_is_the_same(nights, step):
    calm, killed = (run_of(home).manifest(step) for home in nights[:2])
    assert killed.model_dump(exclude={"usage", "readings"}) == calm.model_dump(exclude={"usage", "readings"})
    assert killed.digest == calm.digest


def test_the_lake_holds_each_row_once(nights):
    calm, killed = (Lake(f"{home}/lake", 512) for home in nights[:2])
    rows = [lake.interactions(date(2025, 12, 1), NIGHT, NIGHT) for lake in (calm, killed)]
    assert rows[0].equals(rows[1])
    ids = rows[1]["request_id"].to_pylist()
    assert len(ids) == len(set(ids)) > 0


def test_one_decision_and_each_cost_once(nights):
    ledger = Ledger(f"sqlite:///{nights[1]}/ledger.db")
    assert [d.outcome for d in ledger.decisions()] == ["trained"]
    assert sorted(row["step"] for row in ledger.costs(str(NIGHT))) == sorted(NIGHTLY)


def test_one_registered_version(nights):
    from pipelines.models import open_registry

    config = load_config(nights[1].parent / "config.toml", nights[1])
    registry = open_registry(config)
    assert [version.version for version in registry.versions()] == ["1"]


def test_all_of_it_verifies(nights):
    assert "0 problems" in finish(start("verify", nights[1]))


def test_what_was_changed_afterwards_is_found(nights):  # last: it changes what the others look at
    home = nights[0]
    adapter = next((home / "mlartifacts").rglob("adapter_model.safetensors"))
    adapter.write_bytes(adapter.read_bytes() + b"!")
    (home / RUN / "drift" / "manifest.json").write_text("{")
    done = start("verify", home)
    output = done.communicate()[0]
    assert done.returncode == 2
    assert "version 1" in output
    assert f"{NIGHT}/drift/manifest.json is not a manifest" in output
    assert "2 problems" in output
