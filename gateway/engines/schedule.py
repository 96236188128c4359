"""Which requests the embedded engine works on next: a shadow's only while no user waits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from time import monotonic

from gateway.engines.base import CompletionRequest, EngineError, Piece, RequestRefused
from gateway.engines.batch import Batch
from gateway.engines.rows import BatchRow
from pipelines.core.config import Serving


class QueuedRow(BatchRow):
    """A row whose pieces a request awaits."""

    def __init__(self, request: CompletionRequest, adapter: str | None) -> None:
        super().__init__(request, adapter)
        self.queue: asyncio.Queue[Piece | EngineError | RequestRefused] = asyncio.Queue()
        self.since = monotonic()
        self.has_started = False  # a step works on it, or has

    def deliver(self) -> None:
        """Hand the pieces that wait to the request."""
        pieces, self.pieces = self.pieces, []
        for piece in pieces:
            self.queue.put_nowait(piece)

    def abort(self, error: EngineError) -> None:
        """End the answer with an error, unless it is whole."""
        if not self.done:
            self.fail(error)
        self.deliver()


class Schedule:
    """The waiting requests and the batches, one of each for users and for shadows."""

    def __init__(self, users: Batch, shadows: Batch, settings: Serving) -> None:
        self.users, self.shadows, self._settings = users, shadows, settings
        self.waiting_users: deque[QueuedRow] = deque()
        self.waiting_shadows: deque[QueuedRow] = deque()

    def queue_of(self, request: CompletionRequest) -> deque[QueuedRow]:
        """Where a request waits for its first step."""
        return self.waiting_shadows if request.background else self.waiting_users

    def rows(self) -> Iterator[BatchRow]:
        """All rows, waiting or in a batch."""
        yield from (*self.waiting_users, *self.waiting_shadows, *self.users.rows, *self.shadows.rows)

    def clear(self) -> None:
        """Forget all rows."""
        for waiting in (self.waiting_users, self.waiting_shadows):
            waiting.clear()
        for batch in (self.users, self.shadows):
            batch.clear()

    def next(self) -> tuple[Batch | None, list[QueuedRow]]:
        """The batch to work on now, and the rows that join it. None if there is nothing to do."""
        for waiting in (self.waiting_users, self.waiting_shadows):
            for row in [row for row in waiting if row.gone]:
                waiting.remove(row)
        if self.waiting_users or self.users.rows:
            return self.users, self._joining(self.users, self.waiting_users, self._settings.slots)
        if self.waiting_shadows or self.shadows.rows:
            # One at a time: a user who comes now waits for that one at most.
            return self.shadows, self._joining(self.shadows, self.waiting_shadows, 1)
        return None, []

    def _joining(self, batch: Batch, waiting: deque[QueuedRow], most: int) -> list[QueuedRow]:
        """The next rows for a batch: as many as it has free slots and as one step's prompt tokens allow."""
        joining: list[QueuedRow] = []
        room = min(most, self._settings.slots - len(batch.rows)) if batch.may_grow else 0
        while waiting and len(joining) < room:
            longest = max(len(row.prompt) for row in [*joining, waiting[0]])
            if joining and longest * (len(joining) + 1) > self._settings.prefill_tokens:
                break
            joining.append(waiting.popleft())
        return joining


def queued(rows: Sequence[BatchRow]) -> Iterator[QueuedRow]:
    """The same rows: all rows of the embedded engine are queued ones."""
    for row in rows:
        assert isinstance(row, QueuedRow)
        yield row
