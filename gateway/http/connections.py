"""How many connections there may be, and which of them give way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import retry_later
from gateway.http import health
from gateway.http.body import send_refusal
from pipelines.core.config import Gateway

SPARE = 64  # connections beyond the cap, for bursts: they are answered about health only
YOUNG_S = 1.0  # a request that is not whole after this gives way to a new connection
LOG_EVERY_S = 10.0
log = logging.getLogger("nightshift.gateway")


class Connections:
    """All connections of one server. `incomplete`: those without a whole request, by age, and since when."""

    def __init__(self, settings: Gateway) -> None:
        self.settings = settings
        self.incomplete: dict[asyncio.Transport, float] = {}
        self.count = 0
        self._logged_at = float("-inf")

    @property
    def is_overrun(self) -> bool:
        """Whether not even a burst has room."""
        return self.count > self.settings.max_connections + SPARE

    def make_room(self, now: float) -> bool:
        """Whether a new connection has room. If there are too many, the oldest incomplete request goes."""
        if self.count <= self.settings.max_connections:
            return True
        if now - self._logged_at > LOG_EVERY_S:
            self._logged_at = now
            log.warning("there are more than %d connections", self.settings.max_connections)
        oldest, since = next(iter(self.incomplete.items()), (None, now))
        if oldest and (self.is_overrun or now - since > YOUNG_S):
            del self.incomplete[oldest]
            oldest.abort()
            return True
        return False


def only_health(app: ASGIApp) -> Callable[[Scope, Receive, Send], Any]:
    """`app` for a connection beyond the cap: it is asked about health, anything else is refused with 503."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in health.PATHS:
            await app(scope, receive, send)
        else:
            await send_refusal(send, retry_later(503, "too_many_connections", "too many connections", 1))

    return answer
