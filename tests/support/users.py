"""Seeded users who ask one gateway or another, and rate what they get."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from tests.support.gateways import Running, chat

RIGHT = {"base": 0.2, "1": 0.9, "2": 0.1}  # how many of an adapter's answers are right
BLOCK = 20  # requests to one gateway, before those to the next
LIMIT_S = 90.0  # a request that nobody answers within this time was not answered


@dataclass
class Users:
    """They ask the first gateway that answers, beginning with whose turn it is, and rate what they get."""

    members: Sequence[Running]
    sent: int = 0
    answers: list[tuple[str, str]] = field(default_factory=list)  # request id and adapter
    arrived: Callable[[], None] = lambda: None
    pause_s: float = 0.0  # before each question
    waits: bool = True  # for the rows of one block to arrive, before the next: so their order is the same

    def __post_init__(self) -> None:
        self._clients = [member.client() for member in self.members]

    def ask(self, count: int) -> None:
        """Ask `count` questions, one after the other. The same number asks the same wherever this runs."""
        for _ in range(count):
            number, turn = self.sent, self.sent // BLOCK
            order = [self._clients[(turn + step) % len(self._clients)] for step in range(len(self._clients))]
            if number % BLOCK == 0 and self.waits:
                self.arrived()
            self.sent += 1
            time.sleep(self.pause_s)
            self._ask(number, order)

    def _ask(self, number: int, order: Sequence[httpx.Client]) -> None:
        text = f"question {number}"
        answer = _first(order, "/v1/chat/completions", chat(text, user=f"person-{number}"))
        adapter = str(answer["nightshift"]["adapter"])
        self.answers.append((str(answer["id"]), adapter))
        right = dict(zip(RIGHT, np.random.default_rng(number).random(len(RIGHT)), strict=True))
        is_right = right[adapter] < RIGHT[adapter]
        said: dict[str, Any] = {"request_id": answer["id"], "rating": 1 if is_right else -1}
        if not is_right:  # what another would have said, if that is right
            better = next((name for name in ("1", "2") if name != adapter and right[name] < RIGHT[name]), "")
            said["correction"] = f"{better or 'no'} {text}"
        _first(order, "/v1/feedback", said)


def _first(order: Sequence[httpx.Client], path: str, body: dict[str, Any]) -> Any:
    """The first gateway's answer that is one. Asks all over and over, as a load balancer's users would."""
    end, seen = time.monotonic() + LIMIT_S, ""
    while time.monotonic() < end:
        for client in order:
            try:
                answer = client.post(path, json=body)
            except httpx.TransportError as error:
                seen = f"{client.base_url}: {error!r}"
                continue
            if answer.status_code == 200:
                return answer.json()
            seen = f"{client.base_url}: {answer.status_code} {answer.text}"
        time.sleep(0.05)
    raise AssertionError(f"nobody answered {path}: {seen}")
