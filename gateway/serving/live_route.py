"""Follows the ledger's route: prepares its adapters, switches to them, and lets go of the others.

Where there are several gateways, a move that gives an adapter more waits until all have loaded it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy.exc
from opentelemetry.trace import Tracer

from gateway.serving.backends import Backends
from gateway.serving.loaded_adapters import LoadedAdapters, adapters_of, answering
from gateway.serving.loaded_route import LoadedRoute
from gateway.serving.membership import Membership
from gateway.serving.probes import Probes
from pipelines.core.barrier import Trust
from pipelines.core.errors import NightshiftError, UnavailableError
from pipelines.core.traffic_split import Adapter, is_forward
from pipelines.observability.tracing import span_below
from pipelines.stores.ledger import START, Ledger, Promotion
from pipelines.stores.sql.database import cause_of

# What a row raises that another version of Nightshift wrote.
UNKNOWN_ROW = (KeyError, TypeError, ValueError, AttributeError, NightshiftError)
RETRY_S = 5.0  # after an adapter could not be loaded
log = logging.getLogger("nightshift.gateway")


class LiveRoute:
    """The route that users are answered by. `problem` says why the ledger's newest route is not live."""

    def __init__(
        self,
        ledger: Ledger,
        backends: Backends,
        fetch: Callable[[Adapter], Path],
        probes: Probes,
        tracer: Tracer,
        fleet: Membership | None = None,
    ) -> None:
        self._probes = probes
        self._ledger, self._backends, self._tracer = ledger, backends, tracer
        self._adapters = LoadedAdapters(backends, fetch, probes)
        self._fleet = fleet
        self._routes: list[LoadedRoute] = []  # the newest last; older ones stay while they are leased
        self._retry_at = 0.0
        self._failed = -1
        self._retirements: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._preparing: tuple[Promotion, asyncio.Task[None]] | None = None
        self._prepared: Promotion | None = None  # its adapters are loaded, and it is not live yet
        self.problem = ""

    @property
    def newest(self) -> LoadedRoute | None:
        """The route that went live last; None until the first one is loaded and warmed."""
        return self._routes[-1] if self._routes else None

    @property
    def current(self) -> LoadedRoute | None:
        """The route to answer by: the newest, as far as it can be confirmed. None: answer nobody."""
        route, trust = self.newest, self._fleet.trust if self._fleet else Trust.ALL
        if route is None or trust is Trust.NOTHING:
            return None
        return route if trust is Trust.ALL else route.without_rollout()

    @property
    def why_silent(self) -> str:
        """Why there is no current route."""
        if self.newest is None:
            return "the adapters are being loaded"
        return "another traffic split is in effect, and this gateway lost contact with the database"

    async def update(self) -> None:
        """Switch to the ledger's newest route. If it cannot be loaded, the current one stays."""
        promotion = await self._read()
        if promotion is None:
            return
        if self.newest and promotion.number == self.newest.number:
            self._report("")
            await self._drop_prepared()
        elif await self._is_prepared(promotion) and await self._may_take_effect(promotion):
            self._switch(promotion)

    async def close(self) -> None:
        """Stop loading."""
        if self._preparing:
            self._preparing[1].cancel()
            await asyncio.wait([self._preparing[1]])

    async def _read(self) -> Promotion | None:
        """The promotion to switch to; None where it cannot be read."""
        try:
            newest = await asyncio.to_thread(self._ledger.promotion)
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, UnavailableError) as error:
            self._report(f"the ledger cannot be read: {error}")
        except UNKNOWN_ROW as error:
            self._unreadable(error)
        else:
            return await self._first(newest) if self._fleet and self.newest is None else newest
        return None

    async def _first(self, newest: Promotion) -> Promotion | None:
        """What to begin with: the promotion that the other gateways answer by, or a move back from it."""
        assert self._fleet
        try:
            number = await self._fleet.join(newest.number)
            moves = await asyncio.to_thread(self._ledger.promotions)
        except (sqlalchemy.exc.SQLAlchemyError, NightshiftError) as error:
            self._report(f"this gateway cannot join the others: {cause_of(error)}")
            return None
        in_effect = next((move for move in moves if move.number == number), START)
        waits = number < newest.number and is_forward(in_effect.route, newest.route)
        return in_effect if waits else newest

    async def _may_take_effect(self, promotion: Promotion) -> bool:
        """Whether a promotion whose adapters are loaded may answer users; a forward move waits for all."""
        if not self._fleet or not self.newest or not is_forward(self.newest.route, promotion.route):
            return True
        if await self._fleet.may_take_effect(promotion.number):
            return True
        self._report(self._fleet.waiting)
        return False

    async def _is_prepared(self, promotion: Promotion) -> bool:
        """Whether all adapters of a promotion are loaded and warmed; begins that where it is not under way.

        A move back to what is loaded waits for nothing, also not for a load that hangs.
        """
        if self._prepared == promotion:
            return True
        is_back = self.newest and not is_forward(self.newest.route, promotion.route)
        if is_back and answering(promotion.route) <= self._adapters.loaded:
            return True
        if self._preparing is None:
            if promotion.number == self._failed and time.monotonic() < self._retry_at:
                return False
            self._preparing = promotion, asyncio.create_task(self._prepare(promotion))
        began, task = self._preparing
        await asyncio.wait([task], timeout=self._backends.settings.poll_s)
        if not task.done():
            self.problem = f"promotion {began.number} is not live: its adapters are being loaded"
            return False
        self._preparing = None
        if error := task.exception():
            self._not_loaded(began, error)
            return False
        return began == promotion

    async def _drop_prepared(self) -> None:
        """Forget what was prepared for a move that is not the newest any more."""
        if self._preparing and self._preparing[1].done():
            self._preparing[1].exception()  # nobody asks for it any more
            self._preparing = None
        if self._prepared and not self._preparing:
            self._prepared = None
            await self._unload_unneeded()

    def _not_loaded(self, promotion: Promotion, error: BaseException) -> None:
        log.error("promotion %d is not live", promotion.number, exc_info=error)
        self._backends.metrics.load_failures.inc()
        self._failed, self._retry_at = promotion.number, time.monotonic() + RETRY_S
        self._report(f"promotion {promotion.number} is not live: {type(error).__name__}: {error}")

    def _unreadable(self, error: Exception) -> None:
        """The newest row is none that this version knows. A later one is read again."""
        found = f"{type(error).__name__}: {error}"
        self._report(
            f"the newest promotion is not live: its row cannot be read ({found}); update the gateway"
        )
        if time.monotonic() >= self._retry_at:
            self._retry_at = time.monotonic() + RETRY_S
            self._backends.metrics.load_failures.inc()

    async def _prepare(self, promotion: Promotion) -> None:
        """Load and warm what a promotion needs."""
        async with self._changing:
            with self._span(promotion):
                await self._adapters.load(promotion.route)
                if self.newest is None:
                    await self._backends.of(None).warm()
            self._prepared = promotion

    def _switch(self, promotion: Promotion) -> None:
        """Make a promotion live whose adapters are loaded."""
        old = self.newest
        if self._prepared != promotion:  # a move back that waited for nothing
            with self._span(promotion):
                self._prepared = promotion
        self._routes.append(
            LoadedRoute(promotion, self._backends, adapters_of(promotion.route) & self._adapters.loaded)
        )
        self._probes.watch(self._routes[-1].adapters)
        self._prepared, self._failed = None, -1
        self._backends.metrics.promotion.set(promotion.number)
        self._report("")
        if self._fleet:
            self._fleet.tell(live=promotion.number, ready_for=promotion.number)
        log.info("promotion %d (%s) is live", promotion.number, promotion.move)
        if old:
            task = asyncio.create_task(self._retire(old))
            self._retirements.add(task)
            task.add_done_callback(self._retirements.discard)

    @contextmanager
    def _span(self, promotion: Promotion) -> Iterator[None]:
        """A span that belongs to the trace of the move."""
        with span_below(promotion.evidence.get("traceparent", ""), self._tracer, "route change") as span:
            span.set_attributes({"nightshift.promotion": promotion.number, "nightshift.move": promotion.move})
            yield

    async def _retire(self, old: LoadedRoute) -> None:
        """When the last request on `old` has ended, unload the adapters that no route needs."""
        await old.leases.none.wait()
        self._routes.remove(old)
        await self._unload_unneeded()

    async def _unload_unneeded(self) -> None:
        async with self._changing:
            needed = {adapter for route in self._routes for adapter in route.adapters}
            needed |= adapters_of(self._prepared.route) if self._prepared else set()
            await self._adapters.keep_only(needed)

    def _report(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.error(problem)
        self.problem = problem
        if self._fleet:
            self._fleet.tell(problem=problem or self._probes.problem)
