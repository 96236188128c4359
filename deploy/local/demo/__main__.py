"""The whole story on one machine, in minutes: a model serves, a night passes, its adapter earns production.

    make demo

Everything is real: gateway, training, judge, ledger, registry. Only the people are played: they ask the
sample's questions, and their feedback follows from the known answers. Then somebody forces a bad adapter past
the shadow, and the judge takes it out of the canary. Prints a timeline, and writes a page with plots.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from deploy.local.demo.bad_adapter import register_bad
from deploy.local.demo.page import write_page
from deploy.local.demo.traffic import Answered, Traffic
from pipelines.core.config import load_config
from pipelines.core.errors import MachineError, NightshiftError
from pipelines.core.results import RolloutAnswer, RolloutResult
from pipelines.core.traffic_split import Adapter, to_canary
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Promotion

PROFILE = "config/demo.toml"
FROM_GATEWAY = "ingest.kind=gateway"
BATCH = 120  # questions between two looks of the judge


class Story:
    """One telling; `home` holds all state and the page."""

    def __init__(self, home: Path) -> None:
        self.home, self.config = home, load_config(PROFILE, home)
        self.ledger = open_ledger(self.config)
        self.log = home / "gateway.log"
        self.began = time.monotonic()
        self.lines: list[tuple[datetime, str]] = []

    def say(self, words: str) -> None:
        self.lines.append((datetime.now(UTC), words))
        print(f"{time.monotonic() - self.began:6.0f} s  {words}", flush=True)

    def tell(self) -> Path:
        self.run("prepare")
        with self.gateway() as url:
            traffic = Traffic(self.config, url)
            self.serve(traffic, 2 * BATCH, "the base model answers")
            candidate = self.night()
            self.roll_out(traffic, candidate)
            self.serve(traffic, BATCH, f"version {candidate.version} answers everyone")
            self.bad_day(traffic)
            self.serve(traffic, BATCH, "production after it all")
        page = write_page(self.home / "demo.html", self.lines, traffic.answered, self.ledger.promotions())
        self.say(f"page: {page}")
        return page

    def serve(self, traffic: Traffic, count: int, words: str) -> None:
        found, seconds = _timed(traffic, count)
        self.say(f"{words}: {_right(found)}, {len(found) / seconds:.1f} answers/s")

    def night(self) -> Adapter:
        """The next night reads what the gateway wrote, and trains on it."""
        today = datetime.now(UTC).date()
        self.say(f"night {today}: the loop reads the gateway's log")
        self.run("nights", "--from", str(today), "--to", str(today), "--set", FROM_GATEWAY, show=True)
        moved = self.rollout("shadow", "--reason", "the gate let it through")
        if moved.answer is not RolloutAnswer.MOVED:
            raise MachineError(
                "a candidate after the night", moved.headline, "Read the night's report above."
            )
        self.say(f"version {moved.version} in the shadow: it answers too, nobody sees it")
        return Adapter(moved.version, moved.digest)

    def roll_out(self, traffic: Traffic, candidate: Adapter) -> None:
        """Through all stages, with a look of the judge after each batch of traffic."""
        later = [stage.name for stage in self.config.promote.stages[1:]]
        for to in (*later, "production"):
            result = self.next_stage(traffic, candidate, to)
            self.say(f"judge: {result.answer}; {'; '.join(result.reasons) or result.headline}")
            if result.answer is not RolloutAnswer.MOVED:
                raise MachineError(f"version {candidate.version} in {to}", result.headline, "Read why above.")
            self.say(f"version {candidate.version} is in {to}")

    def next_stage(self, traffic: Traffic, candidate: Adapter, to: str) -> RolloutResult:
        while True:
            found = traffic.send(BATCH)
            canary = [one for one in found if one.route == "canary"]
            self.say(f"{_right(found)}" + (f"; canary {_right(canary)}" if canary else ""))
            words = ["--version", candidate.version, "--digest", candidate.digest]
            result = self.rollout("advance", "--to", to, *words, "--reason", "make demo stands for a person")
            if result.answer is not RolloutAnswer.CONTINUE:
                return result

    def bad_day(self, traffic: Traffic) -> None:
        """An adapter whose update points the wrong way, forced past the shadow."""
        bad, stage = register_bad(self.config), self.config.promote.stages[-1]
        self.rollout("shadow", "--version", bad.version, "--reason", "a hasty fix")
        now = self.ledger.promotion()
        route = to_canary(now.route, bad, stage.weight)
        self.ledger.add_promotion(now, stage.name, route, "forced past the shadow", "somebody in a hurry")
        self.say(f"somebody forces version {bad.version} past the shadow into {stage.name}")
        result = self.next_stage(traffic, bad, "production")
        self.say(f"judge: {result.answer}; {'; '.join(result.reasons)}")
        seconds = self.seconds_until_live(self.ledger.promotion())
        self.say(f"everyone was back on production {seconds:.2f} s after the ledger said so")

    def seconds_until_live(self, move: Promotion) -> float:
        """From a move in the ledger to the gateway's line that it is live."""
        words = f"promotion {move.number} ({move.move}) is live"
        while not (live := [line for line in _said(self.log) if line["message"] == words]):
            time.sleep(0.1)
        return (datetime.fromisoformat(live[0]["ts"]) - datetime.fromisoformat(move.at)).total_seconds()

    def rollout(self, command: str, *words: str) -> RolloutResult:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            self.run(f"rollout-{command}", *words, "--actor", "make demo", "--result", file.name)
            return RolloutResult.model_validate_json(Path(file.name).read_bytes())

    def run(self, *words: str, show: bool = False) -> None:
        """A command of the product; its words are shown or, after a fault, raised."""
        command = [sys.executable, "-m", "pipelines", *words, "--config", PROFILE, "--home", str(self.home)]
        done = subprocess.run(command, check=False, capture_output=not show, text=True)
        if done.returncode:
            raise MachineError(
                f"{words[0]} to succeed", (done.stderr or "its fault, above").strip(), "See above."
            )

    @contextmanager
    def gateway(self) -> Iterator[str]:
        """A gateway on a free port; yields its address once it is ready."""
        command = [sys.executable, "-m", "gateway", "--config", PROFILE, "--home", str(self.home)]
        with self.log.open("w") as file:
            process = subprocess.Popen([*command, "--set", "gateway.port=0"], stderr=file)
        try:
            yield _ready(process, self.log)
        finally:
            process.terminate()
            process.wait(60)


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    url = ""
    while process.poll() is None:
        said = [line["message"] for line in _said(log)]
        url = next((words.rpartition(" ")[2] for words in said if words.startswith("listening on")), "")
        if url and httpx.get(f"{url}/readyz", trust_env=False, timeout=60).is_success:
            return url
        time.sleep(0.2)
    raise MachineError(
        "a gateway that serves", f"it ended: {log.read_text()[-500:]}", "Mend that, run again."
    )


def _said(log: Path) -> list[dict[str, Any]]:
    """The gateway's log, as far as its lines are whole."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]


def _timed(traffic: Traffic, count: int) -> tuple[Sequence[Answered], float]:
    began = time.monotonic()
    return traffic.send(count), time.monotonic() - began


def _right(found: Sequence[Answered]) -> str:
    return f"{sum(one.right for one in found) / len(found):.0%} of {len(found)} right"


def main(home: Path) -> int:
    """Tell it afresh; only the converted base model is kept from an earlier telling."""
    for old in home.glob("*"):
        if old.name != "models":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    try:
        Story(home).tell()
    except NightshiftError as error:
        print(f"fault: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
