"""The engine inside the gateway: transformers on this machine, many adapters in one batch.

The event loop owns all state: which requests wait, and which are in which batch. One thread does the model's
work, a step (one token for every row) at a time. Between two steps requests join, leave and are cancelled,
and adapters are loaded. A second thread turns prompts into tokens. docs/adr/0005 gives the reasons.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import TypeVar

from gateway.engines import lora
from gateway.engines.base import (
    AdapterMissing,
    Busy,
    CompletionRequest,
    EngineError,
    Piece,
    RequestRefused,
)
from gateway.engines.batch import Batch
from gateway.engines.call_schema import schema_of
from gateway.engines.rows import MOST_PROBLEM, BatchRow
from gateway.engines.schedule import QueuedRow, Schedule, queued
from pipelines.core.config import Model, Serving
from pipelines.core.errors import NightshiftError
from pipelines.core.traffic_split import Adapter
from pipelines.models import engine as evaluated
from pipelines.models.grammar import Grammar, Grammars, SchemaRefused

T = TypeVar("T")
log = logging.getLogger("nightshift.gateway")
CHECKS_AT_ONCE = 4  # of new schemas; each is a process of its own
_HELLO = CompletionRequest([{"role": "user", "content": "Hello"}], max_tokens=2)


class EmbeddedEngine:
    """See gateway.engines.base.ServingEngine. Making one reads the base model, which takes seconds."""

    def __init__(self, serving: Serving, model: Model, base_path: str, system_prompt: str = "") -> None:
        self._settings = serving
        self._engine = evaluated.Engine(model, base_path, system_prompt)
        self._grammars = Grammars(self._engine)
        self._adapters = lora.RowAdapters()
        users, shadows = (Batch(self._engine, self._adapters) for _ in range(2))
        self._schedule = Schedule(users, shadows, serving)
        self._loaded: set[str] = set()
        self._stepping: list[BatchRow] = []  # the rows that the worker works on now
        self._tokenizing: Counter[bool] = Counter()  # requests not queued yet; True: of shadows
        self._in_flight: Counter[str | None] = Counter()
        self._ended = asyncio.Event()  # set whenever a request ends
        self._work = asyncio.Event()
        self._changes = asyncio.Lock()
        self._worker = ThreadPoolExecutor(1, "engine")
        self._tokenizer = ThreadPoolExecutor(1, "tokenizer")
        self._schemas = ThreadPoolExecutor(CHECKS_AT_ONCE, "schemas")
        self._seconds = 1.0  # how long a request takes, a moving average
        self._loop: asyncio.Task[None] | None = None
        self.restarts = 0
        self.reloads = 0  # nothing of it gets lost

    @property
    def waiting(self) -> int:
        """How many users' requests wait for their first step."""
        return len(self._schedule.waiting_users)

    @property
    def running(self) -> int:
        """How many requests are in the batches."""
        return len(self._schedule.users.rows) + len(self._schedule.shadows.rows)

    async def load(self, adapter: Adapter, folder: Path) -> None:
        """Raises EngineError unless the adapter is a plain LoRA of this base with finite weights."""
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

    async def complete(
        self, request: CompletionRequest, adapter: Adapter | None
    ) -> AsyncGenerator[Piece, None]:
        waiting = len(self._schedule.queue_of(request)) + self._tokenizing[request.background]
        if waiting >= self._settings.queue:
            raise Busy(waiting, max(1.0, (waiting / self._settings.slots + 1) * self._seconds))
        async with aclosing(self._answer(request, adapter)) as pieces:
            async for piece in pieces:
                yield piece

    async def close(self) -> None:
        if self._loop:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for pool in (self._worker, self._tokenizer, self._schemas):
            await asyncio.to_thread(pool.shutdown)

    async def _answer(
        self, request: CompletionRequest, adapter: Adapter | None
    ) -> AsyncGenerator[Piece, None]:
        name = _name(adapter) if adapter else None
        if name and name not in self._loaded:
            raise AdapterMissing(f"Adapter {name} is not loaded.", "Load it first.")
        row = QueuedRow(request, name)
        self._in_flight[name] += 1
        try:
            await self._enqueue(row)
            while True:
                piece = await self._next(row)
                if isinstance(piece, EngineError | RequestRefused):
                    raise piece
                yield piece
                if piece.finish_reason:
                    self._seconds += 0.1 * (monotonic() - row.since - self._seconds)
                    return
        finally:
            row.gone = True
            self._in_flight[name] -= 1
            self._ended.set()

    async def _next(self, row: QueuedRow) -> Piece | EngineError | RequestRefused:
        """What comes next of an answer. Raises Busy if a user's request waited for too long for its place."""
        waits = row.request.background or row.has_started
        try:
            async with asyncio.timeout(None if waits else self._settings.queue_s):
                return await row.queue.get()
        except TimeoutError:
            if row.has_started:
                return await row.queue.get()
            raise Busy(self.waiting, self._seconds) from None

    async def _enqueue(self, row: QueuedRow) -> None:
        background = row.request.background
        self._tokenizing[background] += 1
        try:
            grammar = await self._grammar(schema_of(row.request))
            await self._in(self._tokenizer, lambda: row.prepare(self._engine, grammar))
        except RequestRefused:
            raise
        except Exception as error:  # of any kind: tokenizers raise many, about this request
            problem = f"the model's tokenizer does not take this request: {error}"
            raise RequestRefused("invalid_request", problem[:MOST_PROBLEM]) from error
        finally:
            self._tokenizing[background] -= 1
        self._schedule.queue_of(row.request).append(row)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._serve())
        self._work.set()

    async def _grammar(self, schema: str | None) -> Grammar | None:
        """A new schema is checked apart, so that nobody else waits for it. Raises RequestRefused."""
        if schema is None:
            return None
        try:
            if not self._grammars.knows(schema):
                await self._in(self._schemas, lambda: self._grammars.check(schema))
            return await self._in(self._tokenizer, lambda: self._grammars.of(schema))
        except SchemaRefused as error:
            raise RequestRefused("invalid_request", str(error)) from error

    async def _serve(self) -> None:
        """Work step by step until cancelled; then all requests end with an error."""
        try:
            while True:
                try:
                    await self._turn()
                except Exception:  # the outermost loop: whatever it was, the next requests are answered
                    log.exception("the engine's loop failed and goes on")
                    self.restarts += 1
                    self._abort_all(EngineError("The engine failed.", "Send the request again."))
        finally:
            self._abort_all(EngineError("The engine stops.", "Send the request again."))

    async def _turn(self) -> None:
        batch, joining = self._schedule.next()
        if batch is None:
            self._work.clear()
            await self._work.wait()
            await asyncio.sleep(self._settings.gather_ms / 1000)  # let a burst join as one batch
        else:
            await self._step(batch, joining)

    def _abort_all(self, error: EngineError) -> None:
        for row in queued([*self._stepping, *self._schedule.rows()]):
            row.abort(error)
        self._stepping = []
        self._schedule.clear()

    async def _step(self, batch: Batch, joining: Sequence[QueuedRow]) -> None:
        rows = self._stepping = [*batch.rows, *joining]
        for row in joining:
            row.has_started = True
        step = asyncio.wrap_future(self._worker.submit(batch.step, joining))
        await asyncio.wait([step])
        if fault := step.exception():
            batch.clear()
            error = EngineError(f"A step of the model failed: {type(fault).__name__}: {fault}.", "Try again.")
            for row in queued(rows):
                row.abort(error)
        for row in queued(rows):
            row.deliver()

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.wrap_future(pool.submit(work))

    def _add(self, name: str, folder: Path) -> None:
        try:
            lora.check_files(folder)
            self._engine.load(name, folder)
            lora.check(self._engine.module, name)
        except EngineError:
            self._engine.unload(name)
            raise
        except NightshiftError as error:
            self._engine.unload(name)
            raise EngineError(error.problem, error.remedy) from error
        except Exception as error:  # of any kind: PEFT raises many for files that it does not expect
            self._engine.unload(name)
            problem = f"{folder} holds no LoRA adapter of this base model: {type(error).__name__}: {error}."
            raise EngineError(problem, "Check the run with `verify`.") from error
        finally:
            lora.install(self._engine.module, self._adapters)

    def _remove(self, name: str) -> None:
        self._engine.unload(name)
        lora.install(self._engine.module, self._adapters)


def _name(adapter: Adapter) -> str:
    """Holds the digest, so that a version registered again is never served from the older one."""
    return f"v{adapter.version}-{adapter.digest[:16]}"
