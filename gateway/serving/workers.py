"""Keeps a long-lived worker going: what one turn raises is logged and counted, and the next turn begins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from gateway.metrics import Metrics

PAUSE_S = 0.1  # after a turn that failed
log = logging.getLogger("nightshift.gateway")


async def keep_working(name: str, turn: Callable[[], Awaitable[None]], metrics: Metrics) -> NoReturn:
    """Do one turn after the other until cancelled."""
    while True:
        try:
            await turn()
        except Exception:  # the outermost loop of a worker that everybody needs
            log.exception("a turn of the worker %s failed, and it goes on", name)
            metrics.worker_failures.labels(name).inc()
            await asyncio.sleep(PAUSE_S)
