"""The engine inside the gateway: transformers on this machine, many adapters in one batch.

The event loop owns all state: who waits, who is in which batch. One worker thread does the model's work,
a step (a token for every row) at a time, so requests join, leave and are cancelled between steps, and
adapters are loaded between them too. Prompts become tokens in a second thread. docs/adr/0005 says why.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import TypeVar

from jinja2 import TemplateError
from safetensors import SafetensorError

from gateway.engines import lora
from gateway.engines.base import AdapterMissing, Busy, Completion, EngineError, Piece
from gateway.engines.batch import Batch
from gateway.engines.rows import Row
from pipelines.core.config import Model, Serving
from pipelines.core.traffic_split import Adapter
from pipelines.models import engine as evaluated

T = TypeVar("T")
_HELLO = Completion([{"role": "user", "content": "Hello"}], max_tokens=2)


class _Ticket(Row):
    """A row whose pieces somebody awaits."""

    def __init__(self, request: Completion, adapter: str | None) -> None:
        super().__init__(request, adapter)
        self.queue: asyncio.Queue[Piece | EngineError] = asyncio.Queue()
        self.since = monotonic()

    def deliver(self) -> None:
        pieces, self.pieces = self.pieces, []
        for piece in pieces:
            self.queue.put_nowait(piece)


class EmbeddedEngine:
    """See gateway.engines.base.Engine. Reading the base model takes seconds: make it before serving."""

    def __init__(self, serving: Serving, model: Model, base_path: str) -> None:
        self._settings = serving
        self._engine = evaluated.Engine(model, base_path)
        self._adapters = lora.Rows()
        self._users, self._shadows = (Batch(self._engine, self._adapters) for _ in range(2))
        self._waiting: deque[_Ticket] = deque()
        self._waiting_shadows: deque[_Ticket] = deque()
        self._loaded: set[str] = set()
        self._stepping: list[Row] = []  # with the worker now
        self._entering: Counter[bool] = Counter()  # on their way to a queue; True are shadows
        self._in_flight: Counter[str | None] = Counter()
        self._ended = asyncio.Event()  # set whenever a request ends
        self._work = asyncio.Event()
        self._changes = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, "engine")
        self._clerk = ThreadPoolExecutor(1, "tokenizer")
        self._seconds = 1.0  # how long a request takes, a moving average
        self._loop: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Requests of users that wait for their first step."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the batches."""
        return len(self._users.rows) + len(self._shadows.rows)

    async def load(self, adapter: Adapter, folder: Path) -> None:
        """Raises EngineError for an adapter that is no plain LoRA, or not finite."""
        name = _name(adapter)
        async with self._changes:
            if name not in self._loaded:
                await self._in(self._worker, lambda: self._add(name, folder))
                self._loaded.add(name)

    async def unload(self, adapter: Adapter) -> None:
        name = _name(adapter)
        if name not in self._loaded:
            return
        self._loaded.discard(name)
        while self._in_flight[name]:
            self._ended.clear()
            await self._ended.wait()
        async with self._changes:
            if name not in self._loaded:  # nobody loaded it again meanwhile
                await self._in(self._worker, lambda: self._remove(name))

    async def warm(self, adapter: Adapter | None) -> None:
        async with aclosing(self._answer(_HELLO, adapter)) as pieces:
            async for _ in pieces:
                pass

    async def complete(self, request: Completion, adapter: Adapter | None) -> AsyncGenerator[Piece, None]:
        queue = self._waiting_shadows if request.background else self._waiting
        waiting = len(queue) + self._entering[request.background]
        if waiting >= self._settings.queue:
            raise Busy(waiting, max(1.0, (waiting / self._settings.slots + 1) * self._seconds))
        async with aclosing(self._answer(request, adapter)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        if self._loop:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for pool in (self._worker, self._clerk):
            await asyncio.to_thread(pool.shutdown)

    async def _answer(self, request: Completion, adapter: Adapter | None) -> AsyncGenerator[Piece, None]:
        name = _name(adapter) if adapter else None
        if name and name not in self._loaded:
            raise AdapterMissing(f"adapter {name} loaded", f"{sorted(self._loaded)}", "Load it first.")
        row = _Ticket(request, name)
        self._in_flight[name] += 1
        try:
            await self._enter(row)
            while True:
                piece = await row.queue.get()
                if isinstance(piece, EngineError):
                    raise piece
                yield piece
                if piece.finish_reason:
                    self._seconds += 0.1 * (monotonic() - row.since - self._seconds)
                    return
        finally:
            row.gone = True
            self._in_flight[name] -= 1
            self._ended.set()

    async def _enter(self, row: _Ticket) -> None:
        shadow = row.request.background
        self._entering[shadow] += 1
        try:
            await self._in(self._clerk, lambda: row.prepare(self._engine))
        except TemplateError as error:
            raise EngineError("messages that the chat template takes", f"{error}", "Correct them.") from error
        finally:
            self._entering[shadow] -= 1
        (self._waiting_shadows if shadow else self._waiting).append(row)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._serve())
        self._work.set()

    async def _serve(self) -> None:
        try:
            while True:
                batch, joining = self._next()
                if batch is None:
                    self._work.clear()
                    await self._work.wait()
                    await asyncio.sleep(self._settings.gather_ms / 1000)  # a burst joins as one
                else:
                    await self._step(batch, joining)
        finally:
            stopped = EngineError("a running engine", "that it stops", "Send the request again.")
            under_way = [*self._stepping, *self._users.rows, *self._shadows.rows]
            for row in [*self._waiting, *self._waiting_shadows, *under_way]:
                _fail(row, stopped)

    def _next(self) -> tuple[Batch | None, list[_Ticket]]:
        """What to work on now: the users' batch, and a shadow's only while no user is there."""
        for waiting in (self._waiting, self._waiting_shadows):
            for row in [row for row in waiting if row.gone]:
                waiting.remove(row)
        if self._waiting or self._users.rows:
            return self._users, self._admit(self._users, self._waiting, self._settings.slots)
        if self._waiting_shadows or self._shadows.rows:
            # One at a time: the longest that a user who comes now can wait for it.
            return self._shadows, self._admit(self._shadows, self._waiting_shadows, 1)
        return None, []

    def _admit(self, batch: Batch, waiting: deque[_Ticket], most: int) -> list[_Ticket]:
        """The next rows to join: as many as there are slots, and as one step's prompt tokens allow."""
        joining: list[_Ticket] = []
        room = min(most, self._settings.slots - len(batch.rows)) if batch.may_grow else 0
        while waiting and len(joining) < room:
            longest = max(len(row.prompt) for row in [*joining, waiting[0]])
            if joining and longest * (len(joining) + 1) > self._settings.prefill_tokens:
                break
            joining.append(waiting.popleft())
        return joining

    async def _step(self, batch: Batch, joining: Sequence[_Ticket]) -> None:
        rows = self._stepping = [*batch.rows, *joining]
        step = asyncio.wrap_future(self._worker.submit(batch.step, joining))
        await asyncio.wait([step])
        if fault := step.exception():
            batch.clear()
            for row in rows:
                _fail(
                    row, EngineError("a step of the model", f"{type(fault).__name__}: {fault}", "Try again.")
                )
        for row in rows:
            assert isinstance(row, _Ticket)
            row.deliver()

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(pool.submit(work))

    def _add(self, name: str, folder: Path) -> None:
        try:
            self._engine.load(name, folder)
            lora.check(self._engine.module, name)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            self._engine.unload(name)
            raise EngineError(
                f"a LoRA adapter of this base in {folder}", str(error), "See `verify`."
            ) from error
        except EngineError:
            self._engine.unload(name)
            raise
        finally:
            lora.mix(self._engine.module, self._adapters)

    def _remove(self, name: str) -> None:
        self._engine.unload(name)
        lora.mix(self._engine.module, self._adapters)


def _name(adapter: Adapter) -> str:
    """The digest is in the name, so that a version registered anew is never served from an old one."""
    return f"v{adapter.version}-{adapter.digest[:16]}"


def _fail(row: Row, error: EngineError) -> None:
    assert isinstance(row, _Ticket)
    if not row.done:
        row.fail(error)
    row.deliver()
