"""A night's steps as metrics, at a real Pushgateway."""

import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from pipelines.core.contract import Verdict
from pipelines.runner import run_step
from pipelines.stores import open_ledger
from pipelines.stores.runs import Run
from tests.support.configs import make_config
from tests.support.nightfall import finish

PUSHGATEWAY = Path(__file__).parents[2] / ".servers" / "usr" / "bin" / "prometheus-pushgateway"


@pytest.fixture
def pushgateway(tmp_path):
    """The address of a Pushgateway."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        (tmp_path / "pushgateway.log").open("w") as log,
        subprocess.Popen([PUSHGATEWAY, f"--web.listen-address={address}"], stdout=log, stderr=log) as server,
    ):
        yield f"http://{address}"
        server.terminate()


def record(home, pushgateway):
    config = make_config(home, "watch", pushgateway=pushgateway)
    run = Run(f"{home}/runs/2026-01-02")
    finish(run, "ingest", {})
    finish(run, "validate", {}, verdict=Verdict.HOLD, reasons=("too few rows",))
    run_step("record", run.folder.uri, config)
    return open_ledger(config).decision("2026-01-02").outcome


def test_the_steps_of_a_night_are_pushed(home, pushgateway):
    wait_for(f"{pushgateway}/-/ready")
    assert record(home, pushgateway) == "held"
    text = httpx.get(f"{pushgateway}/metrics", trust_env=False).text
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if "nightshift_night" in line)
    job = 'instance="",job="nightshift_night"'
    assert found[f'nightshift_step_verdict{{{job},step="ingest",verdict="proceed"}}'] == "1"
    assert found[f'nightshift_step_verdict{{{job},step="validate",verdict="hold"}}'] == "1"
    assert found[f'nightshift_night_outcome{{{job},outcome="held"}}'] == "1"
    assert float(found[f"nightshift_night_start_timestamp_seconds{{{job}}}"]) == 1767225600.0
    for name in ("seconds", "cpu_seconds", "gpu_seconds", "peak_memory_bytes"):
        assert f'nightshift_step_{name}{{{job},step="validate"}}' in found


def test_a_pushgateway_that_is_gone_costs_no_night(home, caplog):
    assert record(home, "http://127.0.0.1:9") == "held"
    assert "metrics were not pushed" in caplog.text


def wait_for(url):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            return httpx.get(url, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError(url)
