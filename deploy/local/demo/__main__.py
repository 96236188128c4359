"""The whole loop on one machine, in minutes: a model serves, a night trains on its traffic, then a rollout.

    make demo

Gateway, training, rollout analysis, ledger and registry are the real ones. Only the users are simulated: they
ask the sample's questions, and their feedback follows from the known answers. At the end a bad adapter skips
the shadow stage, and the rollout analysis takes it out of the canary stage. Prints a timeline and writes a
page with plots.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.demo.bad_adapter import register_bad
from deploy.local.demo.page import write_page
from deploy.local.demo.processes import PROFILE, log_lines, run_command, run_rollout, running_gateway
from deploy.local.demo.traffic import Answered, Traffic
from pipelines.core.config import load_config
from pipelines.core.errors import MachineError, NightshiftError
from pipelines.core.home import OTHERS
from pipelines.core.results import RolloutAnswer, RolloutResult
from pipelines.core.traffic_split import Adapter, to_canary
from pipelines.stores import open_ledger
from pipelines.stores.ledger import Promotion

BATCH = 120  # questions between two analyses of a rollout


class Story:
    """The demo's acts, in order. `home` holds all state and the page."""

    def __init__(self, home: Path) -> None:
        self.home, self.config = home, load_config(PROFILE, home)
        self.ledger = open_ledger(self.config)
        self.log = home / "gateway.log"
        self.started = time.monotonic()
        self.lines: list[tuple[datetime, str]] = []

    def say(self, text: str) -> None:
        """Add a line to the timeline."""
        self.lines.append((datetime.now(UTC), text))
        print(f"{time.monotonic() - self.started:6.0f} s  {text}", flush=True)

    def tell(self) -> Path:
        """Play all acts and write the page."""
        run_command(self.home, "prepare")
        with running_gateway(self.home, self.log) as url:
            traffic = Traffic(self.config, url)
            self.serve(traffic, 2 * BATCH, "The base model answers")
            candidate = self.night()
            self.roll_out(traffic, candidate)
            self.serve(traffic, BATCH, f"Version {candidate.version} answers everyone")
            self.force_a_bad_adapter(traffic)
            self.serve(traffic, BATCH, f"Version {candidate.version} answers everyone again")
        page = write_page(self.home / "demo.html", self.lines, traffic.answered, self.ledger.promotions())
        self.say(f"The page is at {page}.")
        return page

    def serve(self, traffic: Traffic, count: int, text: str) -> None:
        """Send some questions and say how many answers were right."""
        started = time.monotonic()
        found = traffic.send(count)
        speed = len(found) / (time.monotonic() - started)
        self.say(f"{text}: {_right(found)}, {speed:.1f} answers per second.")

    def night(self) -> Adapter:
        """Run the next night on what the gateway journalled; its candidate enters the shadow stage."""
        today = str(datetime.now(UTC).date())
        self.say(f"Night {today} reads the gateway's journal.")
        range_ = ("--from", today, "--to", today)
        run_command(self.home, "nights", *range_, "--set", "ingest.kind=gateway", show=True)
        moved = run_rollout(self.home, "shadow", "--reason", "the gate let it through")
        if moved.answer is not RolloutAnswer.MOVED:
            raise MachineError(
                f"The night gave no candidate: {moved.headline}.", "Read the night's report above."
            )
        self.say(
            f"Version {moved.version} is in the shadow stage: it answers too, but no user sees its answers."
        )
        return Adapter(moved.version, moved.digest)

    def roll_out(self, traffic: Traffic, candidate: Adapter) -> None:
        """Move the candidate through all stages, as far as the rollout analysis lets it."""
        later = [stage.name for stage in self.config.promote.stages[1:]]
        for to in (*later, "production"):
            result = self.next_stage(traffic, candidate, to)
            self.say(f"Rollout analysis: {result.answer}; {'; '.join(result.reasons) or result.headline}.")
            if result.answer is not RolloutAnswer.MOVED:
                problem = f"Version {candidate.version} did not reach {to}: {result.headline}."
                raise MachineError(problem, "Read the reasons above.")
            self.say(f"Version {candidate.version} is in {to}.")

    def next_stage(self, traffic: Traffic, candidate: Adapter, to: str) -> RolloutResult:
        """Send traffic until the rollout analysis decides."""
        while True:
            found = traffic.send(BATCH)
            canary = [one for one in found if one.route == "canary"]
            self.say(f"{_right(found)}" + (f"; in the canary stage {_right(canary)}" if canary else "") + ".")
            words = ["--version", candidate.version, "--digest", candidate.digest]
            words += ["--to", to, "--reason", "make demo stands for a person"]
            result = run_rollout(self.home, "advance", *words)
            if result.answer is not RolloutAnswer.CONTINUE:
                return result
            self.say(
                f"Not enough for the rollout analysis yet: {'; '.join(result.reasons) or result.headline}."
            )

    def force_a_bad_adapter(self, traffic: Traffic) -> None:
        """Put an adapter whose update points the wrong way into the canary stage; the analysis ends it."""
        bad, stage = register_bad(self.config), self.config.promote.stages[-1]
        run_rollout(self.home, "shadow", "--version", bad.version, "--reason", "a hasty fix")
        now = self.ledger.promotion()
        route = to_canary(now.route, bad, stage.weight)
        self.ledger.add_promotion(now, stage.name, route, "forced past the shadow", "somebody in a hurry")
        self.say(f"Somebody forces version {bad.version} past the shadow stage into {stage.name}.")
        result = self.next_stage(traffic, bad, "production")
        self.say(f"Rollout analysis: {result.answer}; {'; '.join(result.reasons)}")
        seconds = self.seconds_until_live(self.ledger.promotion())
        self.say(f"Production answered everyone {seconds:.2f} s after the ledger recorded the abort.")

    def seconds_until_live(self, move: Promotion) -> float:
        """From a move in the ledger to the gateway's log line that it is live."""
        message = f"promotion {move.number} ({move.move}) is live"
        while not (live := [line for line in log_lines(self.log) if line["message"] == message]):
            time.sleep(0.1)
        return (datetime.fromisoformat(live[0]["ts"]) - datetime.fromisoformat(move.at)).total_seconds()


def _right(found: Sequence[Answered]) -> str:
    return f"{sum(one.right for one in found) / len(found):.0%} of {len(found)} answers are right"


def main(home: Path) -> int:
    """Start afresh, but keep the converted base model of an earlier run."""
    os.umask(OTHERS)
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
