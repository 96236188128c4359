"""Real Prometheus, Alertmanager and Pushgateway on free loopback ports, from the packages in .servers/."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from socket import socket
from typing import Any

import httpx
import pytest
import yaml

from tests.support.gateways import until

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"


@cache
def servers() -> Path:
    """The folder of the programs; unpacked where it is missing. Fails with the script's sentence."""
    done = subprocess.run(
        [PROJECT / "tests" / "support" / "servers.sh"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(done.stderr)
    return PROJECT / ".servers" / "usr" / "bin"


def tool(name: str, *words: str | Path) -> str:
    """What promtool or amtool says; raises with it when it says no."""
    done = subprocess.run([servers() / name, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    with _running(folder, "prometheus-pushgateway", [], "/-/ready") as url:
        yield url


@contextmanager
def alertmanager(folder: Path, endpoint: str, token_file: Path) -> Iterator[str]:
    """With the shipped configuration, the endpoint's address and token, and no waiting."""
    config = read_yaml(DEPLOY / "alertmanager" / "alertmanager.yml")
    config["route"]["group_wait"] = "100ms"
    webhook = config["receivers"][0]["webhook_configs"][0]
    webhook["url"] = endpoint
    webhook["http_config"]["authorization"]["credentials_file"] = str(token_file)
    file = _write(folder / "alertmanager.yml", config)
    words = [
        f"--config.file={file}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
    ]
    with _running(folder, "prometheus-alertmanager", words, "/-/ready") as url:
        yield url


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, str], alerts_to: str = "") -> Iterator[str]:
    """With the shipped configuration and rules, looking every second. `targets`: address (URL) by job.

    Blocks in `folder`/data are served.
    """
    config = read_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]].removeprefix("http://")]}]
    peers = [alerts_to.removeprefix("http://")] if alerts_to else []
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": peers}]}]
    file = _write(folder / "prometheus.yml", config)
    words = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}"]
    with _running(folder, "prometheus", words, "/-/ready") as url:
        yield url


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """The vector that Prometheus answers with now."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, trust_env=False).json()
    assert answer["status"] == "success", (expression, answer)
    return answer["data"]["result"]


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@contextmanager
def _running(folder: Path, name: str, words: list[str], ready: str) -> Iterator[str]:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log, home = folder / f"{name}.log", servers().parent / "share" / "prometheus" / "alertmanager"
    command = [str(servers() / name), f"--web.listen-address={address}", *words]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=home, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://{address}"
    try:
        until(lambda: process.poll() is not None or _answers(f"{url}{ready}"), 30)
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _write(path: Path, config: Any) -> Path:
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path
