"""One rollout with seeded users: a good candidate goes to production, a bad one is refused, a rollback.

The users and the candidates are the same wherever it runs, so two kinds of home can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from pipelines.core.config import Config
from pipelines.core.results import RolloutAnswer, RolloutResult
from pipelines.core.traffic_split import Adapter
from pipelines.operations import rollout
from pipelines.stores import open_ledger
from tests.support.gateways import until
from tests.support.rollouts import register
from tests.support.users import Users

STAGE = {"bake_s": 0, "min_answers": 30, "guards": ["errors", "refusals"]}
STAGES = [
    {**STAGE, "name": "shadow"},
    {**STAGE, "name": "canary_25", "weight": 0.25, "min_rated": 20, "margin": 0.3},
    {**STAGE, "name": "canary_50", "weight": 0.5, "min_rated": 20, "margin": 0.3},
]
LIMIT_S = 120.0
ANN = rollout.Provenance("ann", "a test", "run-1")


@dataclass
class Story:
    """The rollout of a home, and what was said of it.

    Half of a stage's users ask inside the contexts of `during(stage)`, equally many in each.
    """

    config: Config
    users: Users
    during: Callable[[str], Sequence[AbstractContextManager[object]]] = lambda stage: [nullcontext()]
    said: list[tuple[Any, ...]] = field(default_factory=list)
    numbers: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        """A good candidate through every stage, then a bad one, then back."""
        one = register(self.config, 1)
        self._note(rollout.start_shadow(self.config, ANN))
        for stage, to, count in (
            ("shadow", "canary_25", 60),
            ("canary_25", "canary_50", 160),
            ("canary_50", "production", 120),
        ):
            self._traffic(stage, count)
            self._note(self._advance(to, one))
        two = register(self.config, 2)
        self._note(rollout.start_shadow(self.config, ANN))
        self._traffic("shadow of a bad one", 60)
        self._note(self._advance("canary_25", two))
        self._note(rollout.rollback(self.config, ANN))

    def moves(self) -> list[tuple[Any, ...]]:
        """What the ledger holds of it."""
        moves = open_ledger(self.config).promotions()
        return [(move.move, move.route, move.actor, move.reason, move.run_id) for move in moves]

    def _traffic(self, stage: str, count: int) -> None:
        number = open_ledger(self.config).promotion().number
        until(lambda: {one.ready()["promotion"] for one in self.users.members} == {number}, 30)
        self.users.ask(count // 2)
        self.users.arrived()
        contexts = self.during(stage)
        for context in contexts:
            with context:
                self.users.ask(count // 2 // len(contexts))
            self.users.arrived()

    def _advance(self, to: str, candidate: Adapter) -> RolloutResult:
        """Asked again while something is missing, as the DAG does: a gateway may have to recover first."""
        end = time.monotonic() + LIMIT_S
        while True:
            result = rollout.advance(self.config, ANN, to, candidate)
            if result.answer is not RolloutAnswer.CONTINUE or time.monotonic() > end:
                return result
            time.sleep(1)

    def _note(self, result: RolloutResult) -> None:
        numbers = {
            name: value for name, value in result.evidence.items() if name not in ("seconds", "report")
        }
        self.said.append((result.command, result.answer, result.headline, result.reasons))
        self.numbers.append(numbers)


def route_of(answers: Sequence[tuple[str, str]]) -> list[str]:
    """Which adapter answered each question, in the order in which users asked."""
    return [adapter for _, adapter in answers]
