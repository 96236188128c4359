"""The product's processes in the demo: commands of the loop, and the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pipelines.core.errors import MachineError
from pipelines.core.results import RolloutResult

PROFILE = "config/demo.toml"


def run_command(home: Path, *words: str, show: bool = False) -> None:
    """Run a command of the product. Its output is shown, or else quoted in the MachineError if it fails."""
    command = [sys.executable, "-m", "pipelines", *words, "--config", PROFILE, "--home", str(home)]
    done = subprocess.run(command, check=False, capture_output=not show, text=True)
    if done.returncode:
        output = (done.stderr or "see its output above").strip()
        raise MachineError(
            f"The command `{words[0]}` failed: {output}", "Correct that and run `make demo` again."
        )


def run_rollout(home: Path, command: str, *words: str) -> RolloutResult:
    """Run `rollout-COMMAND` and return its result."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        run_command(home, f"rollout-{command}", *words, "--actor", "make demo", "--result", file.name)
        return RolloutResult.model_validate_json(Path(file.name).read_bytes())


@contextmanager
def running_gateway(home: Path, log: Path) -> Iterator[str]:
    """A gateway on a free port; yields its address once it is ready."""
    command = [sys.executable, "-m", "gateway", "--config", PROFILE, "--home", str(home)]
    with log.open("w") as file:
        process = subprocess.Popen([*command, "--set", "gateway.port=0"], stderr=file)
    try:
        yield _wait_until_ready(process, log)
    finally:
        process.terminate()
        process.wait(60)


def log_lines(log: Path) -> list[dict[str, Any]]:
    """The whole lines of the gateway's log."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    url = ""
    while process.poll() is None:
        messages = [line["message"] for line in log_lines(log)]
        url = next((text.rpartition(" ")[2] for text in messages if text.startswith("listening on")), "")
        if url and httpx.get(f"{url}/readyz", trust_env=False, timeout=60).is_success:
            return url
        time.sleep(0.2)
    raise MachineError(
        f"The gateway ended before it was ready: {log.read_text()[-500:]}",
        "Correct that and run `make demo` again.",
    )
