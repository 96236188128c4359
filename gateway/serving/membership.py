"""This gateway among the others: it tells the database that it lives, and asks them where that is away."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import socket
import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import httpx
import sqlalchemy.exc

from pipelines.core.barrier import PeerAnswer, SeenGateway, Trust, gone, living, trust, waiting_words
from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.core.files import write_once
from pipelines.stores.gateways.fleet import Fleet, Gateways, Report
from pipelines.stores.gateways.version import own_version
from pipelines.stores.sql.database import cause_of

PEER_PATIENCE_S = 1.0
LEAVE_S = 1.0  # at the end, to tell the others
AWAY = (sqlalchemy.exc.SQLAlchemyError, NightshiftError, OSError)
log = logging.getLogger("nightshift.gateway")


class Spool(Protocol):
    """Where rows wait that have not reached the journal."""

    def left(self) -> tuple[str, int]:
        """What the journal knows it by, and how many entries wait."""


class Membership:
    """`trust` says what this gateway may answer by, `waiting` what a forward move waits for.

    `gone` are the other gateways that do not live, as the database last told it.
    """

    def __init__(
        self, config: Config, gateways: Gateways, key: bytes, url: str, spool: Spool | None = None
    ) -> None:
        self._settings, self._gateways, self._spool = config.gateway, gateways, spool
        mark = hashlib.sha256(b"mark of a routing key" + key).hexdigest()[:16]
        self._report = Report(_own_id(Path(config.home)), url, mark, version=own_version().text())
        self._peers: list[SeenGateway] = []
        self.gone: list[SeenGateway] = []
        self._contact_at = time.monotonic()
        self._beating: asyncio.Task[None] | None = None
        self._client = httpx.AsyncClient(timeout=PEER_PATIENCE_S, trust_env=False)
        self._has_joined, self._in_effect = False, -1
        self.trust, self.problem, self.waiting = Trust.ALL, "", ""

    @property
    def has_contact(self) -> bool:
        """Whether the database was read lately."""
        return time.monotonic() - self._contact_at <= self._settings.contact_s

    async def join(self, newest: int) -> int:
        """Start; returns the promotion that is in effect. Raises what the database does."""
        started = time.monotonic()
        fleet = await asyncio.to_thread(self._gateways.join, self._report, newest)
        self._note(fleet, started)
        self._has_joined = True
        return fleet.in_effect

    async def may_take_effect(self, number: int) -> bool:
        """Tell that this gateway is ready for a forward move. Whether all are; `waiting` says who is not."""
        self.tell(ready_for=number)
        started = time.monotonic()
        try:
            fleet = await asyncio.to_thread(self._gateways.agree, self._report, number)
        except AWAY as error:
            self.waiting = f"promotion {number} waits for the database: {cause_of(error)}"
            return False
        self._note(fleet, started)
        if fleet.in_effect >= number:
            self.waiting = ""
            return True
        self.waiting = waiting_words(number, fleet.gateways, self._settings.contact_s)
        return False

    def tell(self, **changes: int | str) -> None:
        """Change what the database is told with the next beat."""
        if "live" in changes:
            self.waiting = ""
        self._report = replace(self._report, **changes)  # type: ignore[arg-type]

    async def turn(self) -> None:
        """One heartbeat, and what to trust after it. A database that hangs holds up nothing else."""
        started = time.monotonic()
        if self._has_joined:
            self._beating = self._beating or asyncio.create_task(self._beat())
            await asyncio.wait([self._beating], timeout=self._settings.heartbeat_s)
            if self._beating.done():
                self._beating = None
            await self._decide()
        await asyncio.sleep(max(0.0, started + self._settings.heartbeat_s - time.monotonic()))

    async def close(self) -> None:
        """Leave, so that nobody waits for this gateway."""
        if self._beating:
            self._beating.cancel()
            await asyncio.wait([self._beating])
        await self._client.aclose()
        try:
            await self._look_at_spool()
            async with asyncio.timeout(max(self._settings.heartbeat_s, LEAVE_S)):
                await asyncio.to_thread(self._gateways.leave, self._report)
        except (*AWAY, TimeoutError) as error:
            log.warning("the other gateways are not told that this one stops: %s", cause_of(error))
        self._gateways.close()

    async def _beat(self) -> None:
        started = time.monotonic()
        try:
            await self._look_at_spool()
            self._note(await asyncio.to_thread(self._gateways.beat, self._report), started)
            self.problem = ""
        except AWAY as error:
            if not self.problem:
                log.error("the gateways' table cannot be written: %s", cause_of(error))
            self.problem = f"no contact with the database: {cause_of(error)}"

    async def _look_at_spool(self) -> None:
        """Tell how many rows wait. Of a spool that cannot be read, the number of before stands."""
        if self._spool:
            with suppress(sqlite3.Error):
                spool, rows = await asyncio.to_thread(self._spool.left)
                self.tell(spool=spool, spool_rows=rows)

    def _note(self, fleet: Fleet, at: float) -> None:
        self._contact_at, self._in_effect = max(self._contact_at, at), fleet.in_effect
        others = [one for one in fleet.gateways if one.id != self._report.id]
        self._peers = living(others, self._settings.contact_s)
        self.gone = gone(others, self._settings.contact_s)

    async def _decide(self) -> None:
        answers = [] if self.has_contact else await asyncio.gather(*map(self._ask, self._peers))
        silent_s = time.monotonic() - self._contact_at
        contact_s, live = self._settings.contact_s, self._report.live
        found = trust(silent_s, contact_s, live, answers, self._in_effect, self.trust)
        if found != self.trust:
            log.warning("this gateway answers by %s: contact with the database %.0f s ago", found, silent_s)
        self.trust = found

    async def _ask(self, peer: SeenGateway) -> PeerAnswer:
        try:
            said = (await self._client.get(f"{peer.url}/readyz")).json()
            return PeerAnswer(bool(said["contact"]), -1 if said["promotion"] is None else said["promotion"])
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
            return PeerAnswer(None)


def reachable_url(config: Config, port: int) -> str:
    """Where other gateways reach this one."""
    settings = config.gateway
    if settings.url:
        return settings.url.rstrip("/")
    host = socket.gethostname() if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://{host}:{port}" if port else ""


def _own_id(home: Path) -> str:
    """The id of a home's gateway: one that starts again takes the place of the one before it."""
    file = home / "gateway" / "id"
    if not file.exists():
        write_once(file, secrets.token_hex(8).encode())
    return file.read_text().strip()
