"""Greedy answers in batches, each by a JSON schema, as the gateway's embedded engine gives them."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import torch
from transformers import LogitsProcessor

from pipelines.models.base import Messages
from pipelines.models.engine import Engine
from pipelines.models.grammar import Grammar, Grammars

# A grammar's tokenizer takes a second to make, and a schema's check too.
_grammars: WeakKeyDictionary[Engine, Grammars] = WeakKeyDictionary()


class FollowsSchema(LogitsProcessor):
    """Leaves each row of a batch the tokens that its grammar allows. An answer that is whole ends."""

    def __init__(self, grammars: Sequence[Grammar], ends: set[int]) -> None:
        self._rows, self._ends = list(grammars), ends
        self._begun = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`input_ids`: (rows, tokens so far). `scores`: (rows, vocabulary)."""
        if self._begun:
            for grammar, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
                if not grammar.is_whole:
                    grammar.take(token)
        self._begun = True
        return torch.stack([self._allowed(*row) for row in zip(self._rows, scores, strict=True)])

    def _allowed(self, grammar: Grammar, scores: torch.Tensor) -> torch.Tensor:
        if not grammar.is_whole:
            return grammar.allowed(scores.cpu()).to(scores.device)
        only_end = torch.full_like(scores, -torch.inf)
        only_end[sorted(self._ends)] = 0.0
        return only_end


def generate_json(
    engine: Engine, conversations: Sequence[Messages], schema: str, max_new_tokens: int
) -> list[str]:
    """An answer to each conversation; one that is cut at `max_new_tokens` is no whole JSON.

    `schema`: JSON text. Raises SchemaRefused.
    """
    grammars = _grammars.setdefault(engine, Grammars(engine))

    def rules(rows: int) -> LogitsProcessor:
        return FollowsSchema([grammars.of(schema) for _ in range(rows)], engine.end_tokens)

    return engine.generate(conversations, max_new_tokens, rules)
