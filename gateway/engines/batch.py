"""A batch of rows that get one token per step. Rows join and leave between steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from transformers.cache_utils import DynamicLayer

from gateway.engines.lora import RowAdapters
from gateway.engines.rows import BatchRow
from pipelines.models.engine import Engine


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
        """Append one token to each row, including the joining ones."""
        self._keep([not row.gone for row in self.rows])
        if self.rows:
            last = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self._mask.device)
            self._mask = functional.pad(self._mask, (0, 1), value=1)
            self._forward(self.rows, last, self._mask, self._cache)
        if joining:
            other = Batch(self._engine, self._adapters)
            ids, other._mask = self._engine.pad([row.prompt for row in joining])
            other._cache, other.rows = self._forward(joining, ids, other._mask, None), list(joining)
            other._keep([not row.done for row in other.rows])
            self._keep([not row.done for row in self.rows])
            self._join(other)
        else:
            self._keep([not row.done for row in self.rows])

    def _forward(self, rows: Sequence[BatchRow], ids: torch.Tensor, mask: torch.Tensor, cache: Any) -> Any:
        self._adapters.use([row.adapter for row in rows])
        out = self._engine.forward(ids, mask, cache)
        for row, logits in zip(rows, out.logits[:, -1].float().cpu(), strict=True):
            row.add_token(logits)
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
