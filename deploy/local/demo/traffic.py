"""Sample traffic for a running gateway: people ask, read the answer, and most of them say what they think."""

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
from pipelines.sample.people import CHANNELS, feedback_on, person
from pipelines.sample.questions import plan, questions

AT_ONCE = 6  # people who wait for an answer at the same time


@dataclass(frozen=True)
class Answered:
    """One answer as its user saw it."""

    at: datetime
    adapter: str
    route: str
    right: bool


class Traffic:
    """The sample's questions one after the other, each from a person who has not asked before."""

    def __init__(self, config: Config, url: str, first: int = 0) -> None:
        self._config, self._url = config, url
        nights = plan(questions(config.task.labels), config.sample).nights
        self._items = [item for night in nights for item in night]
        key = private_key(Path(config.home) / "gateway" / "dev")
        self._tokens = {
            tenant: make_token(config, key, tenant, "model:* feedback", hours=12)
            for tenant in config.sample.tenants
        }
        self.answered: list[Answered] = []
        self._asked = first  # the place of the next question

    def send(self, count: int) -> list[Answered]:
        """Ask the next `count` questions; returns what came back, in order of the answers."""
        return asyncio.run(self._send(count))

    async def _send(self, count: int) -> list[Answered]:
        before, places = len(self.answered), iter(range(self._asked, self._asked + count))
        self._asked += count
        async with httpx.AsyncClient(base_url=self._url, timeout=60, trust_env=False) as client:
            await asyncio.gather(*(self._people(client, places) for _ in range(AT_ONCE)))
        return self.answered[before:]

    async def _people(self, client: httpx.AsyncClient, places: Iterator[int]) -> None:
        for place in places:
            await self._ask(client, place)

    async def _ask(self, client: httpx.AsyncClient, place: int) -> None:
        item, who = self._items[place % len(self._items)], person(place, self._config.sample)
        rng = np.random.default_rng([self._config.sample.seed, place])  # whoever is answered first
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
        right = answer["label"] == item.label
        self.answered.append(Answered(datetime.now(UTC), answer["adapter"], answer["route"], right))
        share = self._config.sample.feedback_share
        rating, correction = feedback_on(right, item.label, share, rng)
        if rating is not None:
            told = {"request_id": answer["request_id"], "rating": rating, "correction": correction}
            (await client.post("/v1/feedback", json=told, headers=headers)).raise_for_status()
