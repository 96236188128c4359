"""Sample traffic for a running gateway: simulated users ask, and most of them rate the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from gateway.dev_token import make_token, private_key
from pipelines.core.config import Config
from pipelines.evaluation.tasks import task_of
from pipelines.sample.people import CHANNELS, feedback_on, person
from pipelines.sample.questions import sample_plan

AT_ONCE = 6  # users who wait for an answer at the same time


@dataclass(frozen=True)
class Answered:
    """One answer, as its user saw it."""

    at: datetime
    adapter: str
    route: str
    right: bool


class Traffic:
    """The sample's questions in order, each from a user who has not asked before."""

    def __init__(self, config: Config, url: str, first: int = 0) -> None:
        self._config, self._url = config, url
        self._items = [item for night in sample_plan(config).nights for item in night]
        self._task = task_of(config)
        key = private_key(Path(config.home) / "gateway" / "dev")
        self._tokens = {
            tenant: make_token(config, key, tenant, "model:* feedback", hours=12, states_users=True)
            for tenant in config.sample.tenants
        }
        self.answered: list[Answered] = []
        self._next = first  # the index of the next question

    def send(self, count: int) -> list[Answered]:
        """Ask the next `count` questions; returns what came back, in order of the answers."""
        return asyncio.run(self._send(count))

    async def _send(self, count: int) -> list[Answered]:
        before, places = len(self.answered), iter(range(self._next, self._next + count))
        self._next += count
        async with httpx.AsyncClient(base_url=self._url, timeout=60, trust_env=False) as client:
            await asyncio.gather(*(self._user(client, places) for _ in range(AT_ONCE)))
        return self.answered[before:]

    async def _user(self, client: httpx.AsyncClient, places: Iterator[int]) -> None:
        for place in places:
            await self._ask(client, place)

    async def _ask(self, client: httpx.AsyncClient, place: int) -> None:
        item, who = self._items[place % len(self._items)], person(place, self._config.sample)
        rng = np.random.default_rng(
            [self._config.sample.seed, place]
        )  # the same draws in whatever order answers come
        headers = {"Authorization": f"Bearer {self._tokens[str(who['tenant'])]}"}
        body = {
            "text": item.question,
            "user": who["subject_id"],
            "locale": who["locale"],
            "channel": str(rng.choice(CHANNELS)),
            "opt_out": who["opt_out"],
        }
        response = await client.post("/predict", json=body, headers=headers)
        answer = response.raise_for_status().json()
        right = self._task.read(answer["label"]) == self._task.read(item.answer)
        self.answered.append(Answered(datetime.now(UTC), answer["adapter"], answer["route"], right))
        share = self._config.sample.feedback_share
        rating, correction = feedback_on(right, item.answer, share, rng)
        if rating is not None:
            feedback = {"request_id": answer["request_id"], "rating": rating, "correction": correction}
            (await client.post("/v1/feedback", json=feedback, headers=headers)).raise_for_status()
