"""A test double of the gateway's engine: answers at once, and can be slow or broken on demand.

The real engines have tests of their own. They cannot produce faults and delays on demand.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.engines.base import AdapterMissing, CompletionRequest, EngineError, Piece, RequestRefused
from pipelines.core.tools import Call, apart
from pipelines.core.traffic_split import Adapter


class DoubleEngine:
    """Says its adapter's name and the last message, or the first choice. `faults` and `delays` by name."""

    def __init__(self) -> None:
        self.loaded: set[Adapter] = set()
        self.warmed: list[str] = []
        self.asked: list[tuple[str, CompletionRequest]] = []
        self.faults: dict[
            str, str
        ] = {}  # name -> "error" | "refuse" | "late" (breaks off after the first piece)
        self.unloadable: set[str] = set()
        self.unwarmable: set[str] = set()
        self.json_answer = "{}"  # to a request with a schema
        self.calls: tuple[Call, ...] = ()  # of tools, where some are offered
        self.delays: dict[str, float] = {}  # seconds before the first piece
        self.piece_s = (
            0.0  # if set, an answer has `max_tokens` pieces, and each takes this long for each answer
        )
        self.running = 0  # answers under way
        self.load_s = 0.0
        self.may_load = threading.Event()  # cleared: a load waits until it is set
        self.may_load.set()
        self.closed = False
        self.restarts = 0
        self.reloads = 0

    async def load(self, adapter: Adapter, folder: Path) -> None:
        await asyncio.sleep(self.load_s)
        while not self.may_load.is_set():
            await asyncio.sleep(0.01)
        if adapter.version in self.unloadable:
            raise RuntimeError("the weights do not fit")
        self.loaded.add(adapter)

    async def unload(self, adapter: Adapter) -> None:
        self.loaded.discard(adapter)

    async def warm(self, adapter: Adapter | None) -> None:
        if name(adapter) in self.unwarmable:
            raise EngineError("The test wants no warm-up.", "Nothing to do.")
        self.warmed.append(name(adapter))

    async def complete(self, request: CompletionRequest, adapter: Adapter | None) -> AsyncIterator[Piece]:
        who = name(adapter)
        if adapter and adapter not in self.loaded:
            raise AdapterMissing(f"Adapter {who} is not loaded.", "Load it.")
        self.asked.append((who, request))
        self.running += 1
        try:
            async for piece in self._answer(request, who):
                yield piece
        finally:
            self.running -= 1

    async def _answer(self, request: CompletionRequest, who: str) -> AsyncIterator[Piece]:
        await asyncio.sleep(self.delays.get(who, 0))
        if self.faults.get(who) == "error":
            raise EngineError("The test wants a fault.", "Nothing to do.")
        if self.faults.get(who) == "refuse":
            raise RequestRefused("invalid_request", "the test wants no such request")
        words = [request.choices[0]] if request.choices else [who, *_last(request).split()]
        if request.json_schema is not None:
            words = [self.json_answer]
        if self.piece_s:
            words = ["word"] * request.max_tokens
        if self.calls and apart(request.messages)[0]:
            words = [""]
        for word in words[:-1]:
            await asyncio.sleep(self.piece_s * self.running)
            yield Piece(word + " ")
        if self.faults.get(who) == "late":
            raise EngineError("The test wants the answer to break off.", "Nothing to do.")
        counts = {"tokens_in": len(_last(request).split()), "tokens_out": len(words)}
        if self.calls and apart(request.messages)[0]:
            yield Piece("", "tool_calls", calls=self.calls, **counts)
        else:
            yield Piece(words[-1], "stop", **counts)

    async def close(self) -> None:
        self.closed = True


def name(adapter: Adapter | None) -> str:
    return adapter.version if adapter else "base"


def _last(request: CompletionRequest) -> str:
    return request.messages[-1]["content"]
