"""Writes deliveries to the inbox in groups: those that arrive during one transaction go into the next."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool

from nightshift.endpoint.senders import RETRY_AFTER_S
from nightshift.settings import Settings
from pipelines.core.errors import UnavailableError
from pipelines.stores import open_inbox

if TYPE_CHECKING:
    from pipelines.stores.inbox import Inbox


class InboxWriter:
    """The inbox of one home; opened at the first delivery."""

    def __init__(self, settings: Settings) -> None:
        self._config = settings.config
        self._inbox: Inbox | None = None
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[bool]]] = []
        self._writing = asyncio.Lock()

    async def keep(self, row: dict[str, Any]) -> bool:
        """Whether the delivery was new, once it is on disk. HTTPException 503 where it cannot be written."""
        from sqlalchemy.exc import DBAPIError  # locked, full, read-only, damaged

        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, kept))
        async with self._writing:
            if not kept.done():
                await self._write()
        try:
            return await kept
        except (DBAPIError, UnavailableError, OSError) as error:
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            raise HTTPException(503, "The ledger cannot be written now. Send it again.", retry) from error

    async def _write(self) -> None:
        from sqlalchemy.exc import DBAPIError

        taken, self._waiting = self._waiting, []
        try:
            new = await run_in_threadpool(self._store, [row for row, _ in taken])
            for (_, kept), is_new in zip(taken, new, strict=True):
                if not kept.done():
                    kept.set_result(is_new)
        except (DBAPIError, UnavailableError, OSError) as error:
            for _, kept in taken:
                if not kept.done():
                    kept.set_exception(error)
        finally:
            for _, kept in taken:
                kept.cancel()  # does nothing to those that are done

    def _store(self, rows: list[dict[str, Any]]) -> list[bool]:
        self._inbox = self._inbox or open_inbox(self._config, self._config.alerts.lock_wait_s)
        return self._inbox.deliver(*rows)
