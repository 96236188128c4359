"""A batch of rows that get one token per step. Rows join and leave between steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import DynamicLayer

from gateway.engines.base import EngineError, RequestRefused
from gateway.engines.lora import RowAdapters
from gateway.engines.rows import BatchRow
from pipelines.models.engine import Engine

log = logging.getLogger("nightshift.gateway")


class Batch:
    """The rows under way with their shared key-value cache, left-padded to the longest. Not thread-safe."""

    def __init__(self, engine: Engine, adapters: RowAdapters) -> None:
        self._engine, self._adapters = engine, adapters
        self.clear()

    def clear(self) -> None:
        self.rows: list[BatchRow] = []
        self._cache: Any = None
        self._mask: Any = None  # (rows, cached tokens)

    @property
    def may_grow(self) -> bool:
        """Whether rows can join: not while a layer's cache has a sliding window."""
        return not self.rows or all(type(layer) is DynamicLayer for layer in self._cache.layers)

    @torch.inference_mode()
    def step(self, joining: Sequence[BatchRow]) -> None:
        """Append one token to each row, including the joining ones. Rows that fail end alone."""
        self._keep([not row.gone for row in self.rows])
        tried = [*self.rows, *joining]
        if self.rows:
            self._advance()
        if joining:
            self._join(self._started(joining))
        _blame(tried)

    def _advance(self) -> None:
        """One more token for the rows under way."""
        width = self._mask.shape[1]
        last = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self._mask.device)
        mask = functional.pad(self._mask, (0, 1), value=1)
        try:
            self._forward(self.rows, last, mask, self._cache)
        except Exception as error:  # of any kind: torch raises several
            log.exception("a step of %d rows failed", len(self.rows))
            self._advance_apart(width, error)
            return
        self._mask = mask
        self._keep([not row.done for row in self.rows])

    def _advance_apart(self, width: int, error: Exception) -> None:
        """After a joint step that failed: each half by itself, down to the row that fails alone."""
        if len(self.rows) == 1 or not self.may_grow:
            _break(self.rows, error)
            self.clear()
            return
        self._each(lambda states: states[:, :, :width])  # some layers had the new token already
        halves = self._halves()
        self.clear()
        for half in halves:
            half._advance()
            self._join(half)

    def _halves(self) -> list[Batch]:
        middle, halves = len(self.rows) // 2, []
        for part in (slice(None, middle), slice(middle, None)):
            half = Batch(self._engine, self._adapters)
            half.rows, half._mask = self.rows[part], self._mask[part]
            half._cache = copy(self._cache)
            half._cache.layers = [copy(layer) for layer in self._cache.layers]
            half._each(lambda states, part=part: states[part])  # type: ignore[misc]
            halves.append(half)
        return halves

    def _started(self, joining: Sequence[BatchRow]) -> Batch:
        """A batch of rows after their first token. Where they fail together, each half starts by itself."""
        batch = Batch(self._engine, self._adapters)
        ids, mask = self._engine.pad([row.prompt for row in joining])
        try:
            cache = self._forward(joining, ids, mask, None)
        except Exception as error:  # of any kind, as above
            log.exception("the first step of %d rows failed", len(joining))
            if len(joining) == 1:
                _break(joining, error)
                return batch
            middle = len(joining) // 2
            batch._join(self._started(joining[:middle]))
            batch._join(self._started(joining[middle:]))
            return batch
        batch.rows, batch._cache, batch._mask = list(joining), cache, mask
        batch._keep([not row.done for row in batch.rows])
        return batch

    def _forward(self, rows: Sequence[BatchRow], ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> Any:
        self._adapters.use([row.adapter for row in rows])
        out = self._engine.forward(ids, mask, cache)
        logits = out.logits[:, -1].float().cpu()
        for row, own in zip(rows, logits, strict=True):
            row.take(own)
        return out.past_key_values

    def _keep(self, kept: list[bool]) -> None:
        """Keep some rows, and cut leading columns that are padding in all of them."""
        if all(kept):
            return
        self.rows = [row for row, keep in zip(self.rows, kept, strict=True) if keep]
        if not self.rows:
            self.clear()
            return
        index = torch.tensor(kept, device=self._mask.device).nonzero()[:, 0]
        self._mask = self._mask[index]
        padding = int(self._mask.argmax(-1).min()) if self.may_grow else 0
        self._mask = self._mask[:, padding:]
        self._each(lambda states: states[index, :, padding:])

    def _join(self, other: Batch) -> None:
        if not self.rows or not other.rows:
            if other.rows:
                self.rows, self._cache, self._mask = other.rows, other._cache, other._mask
            return
        width = max(self._mask.shape[1], other._mask.shape[1])
        self._widen(width)
        other._widen(width)
        for mine, theirs in zip(self._cache.layers, other._cache.layers, strict=True):
            mine.keys = torch.cat([mine.keys, theirs.keys])
            mine.values = torch.cat([mine.values, theirs.values])
        self._mask = torch.cat([self._mask, other._mask])
        self.rows = [*self.rows, *other.rows]

    def _widen(self, width: int) -> None:
        missing = width - self._mask.shape[1]
        self._mask = functional.pad(self._mask, (missing, 0))
        self._each(lambda states: functional.pad(states, (0, 0, missing, 0)))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Change the keys and values of every layer; each has shape (rows, heads, tokens, width)."""
        for layer in self._cache.layers:
            layer.keys, layer.values = change(layer.keys), change(layer.values)


def _break(rows: Sequence[BatchRow], error: Exception) -> None:
    for row in rows:
        row.broken_by = error


def _blame(tried: Sequence[BatchRow]) -> None:
    """End the rows that broke. Where the same adapter answered others in this step, the request is wrong."""
    works = {row.adapter for row in tried if not row.broken_by}
    for row in tried:
        if error := row.broken_by:
            words = f"{type(error).__name__}: {error}"
            if row.adapter in works:
                row.fail(
                    RequestRefused("invalid_request", f"the engine cannot work on this request: {words}")
                )
            else:
                row.fail(EngineError(f"A step of the model failed: {words}.", "Try again."))
