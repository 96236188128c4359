"""kill -9 at every step, then rerun: the same manifests, nothing lost, nothing twice."""

import shutil
import signal
import time
from datetime import date
from importlib import import_module
from pathlib import Path

import pytest

from pipelines.core.config import load_config
from pipelines.core.contract import CLOSING, NIGHTLY
from pipelines.data.lake import Lake
from pipelines.runner import run_step
from pipelines.stores.attempts import ATTEMPTS
from pipelines.stores.ledger import Ledger
from pipelines.stores.runs import Run
from tests.support import forks, tiny
from tests.support.kept import share_heads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NIGHT = date(2026, 1, 1)
STEPS = (*NIGHTLY, *CLOSING)
RUN = f"runs/{NIGHT}"
LOADED = forks.loaded(*STEPS)


def where(home):
    return ["--config", str(home.parent / "config.toml"), "--home", str(home)]


def finish(home, *words):
    """Run a command to its end; what it says."""
    said = home.parent / "said.txt"
    said.unlink(missing_ok=True)
    process = forks.start(LOADED, said, *words, *where(home))
    process.join()
    output = said.read_text()
    assert process.exitcode == 0, output
    return output


def kill_at_work(step, home, seconds):
    """Kill the step so long after it began to write; returns whether it was still at work."""
    words = [step, "--run-dir", str(home / RUN), *where(home)]
    process = forks.start(LOADED, home.parent / "killed.txt", *words)
    while process.is_alive() and not list((home / RUN / ATTEMPTS).glob(f"{step}.*")):
        time.sleep(0.005)
    process.join(seconds)
    process.kill()  # SIGKILL
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Two equal homes: in one each step runs undisturbed, in the other each is killed once first."""
    folder = tmp_path_factory.mktemp("kill")
    calm, killed = folder / "calm", folder / "killed"
    base = tiny.make_base(folder / "base")
    profile = Path("tests/support/tiny.toml").read_text()
    (folder / "config.toml").write_text(f'{profile}\n[model]\nbase = "{base}"\n')
    finish(calm, "prepare")
    finish(calm, "sample", "--night", str(NIGHT))
    share_heads(calm)
    shutil.copytree(calm, killed, symlinks=True)
    config, alive = load_config(folder / "config.toml", calm), []
    for step in STEPS:
        import_module(f"pipelines.steps.{step}")  # or the calm step would load it, and take longer
        seconds = run_step(step, str(calm / RUN), config).seconds
        alive.append(kill_at_work(step, killed, seconds * 0.3))
        finish(killed, step, "--run-dir", str(killed / RUN))
    return calm, killed, alive


def run_of(home):
    return Run(str(home / RUN))


def test_most_steps_were_killed_at_work(nights):
    """Most, not all: a busy machine may take longer for the calm step than for the one to kill."""
    assert sum(nights[2]) > len(STEPS) / 2, dict(zip(STEPS, nights[2], strict=True))


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
    assert "0 problems" in finish(nights[1], "verify")


def test_what_was_changed_afterwards_is_found(nights):  # last: it changes what the others look at
    home = nights[0]
    adapter = next((home / "mlartifacts").rglob("adapter_model.safetensors"))
    adapter.write_bytes(adapter.read_bytes() + b"!")
    (home / RUN / "drift" / "manifest.json").write_text("{")
    done = forks.start(LOADED, home.parent / "verified.txt", "verify", *where(home))
    done.join()
    output = (home.parent / "verified.txt").read_text()
    assert done.exitcode == 2
    assert "version 1" in output
    assert f"{NIGHT}/drift/manifest.json is not a manifest" in output
    assert "2 problems" in output
