"""Rows of tokens, as batches that a model can work on. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

LOGIT_ROWS = 1024  # positions whose logits are held at once: 200 MB at 49,152 tokens in float32


def batches(
    rows: Sequence[Sequence[int]], size: int, keep: Sequence[int] | None = None
) -> Iterator[list[int]]:
    """Indices of the rows in batches of similar length, at most `size` each.

    `keep` says for how many positions of each row the logits are held; together at most `LOGIT_ROWS`.
    """
    order = sorted(range(len(rows)), key=lambda i: (len(rows[i]), i))
    batch: list[int] = []
    for i in order:
        widest = max(keep[j] for j in [*batch, i]) if keep else 0
        if len(batch) == size or (batch and widest * (len(batch) + 1) > LOGIT_ROWS):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def left_padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, (rows, longest) each; `pad` fills the left."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


@dataclass(frozen=True)
class ScoringPlan:
    """Which passes through the model score which items.

    Items that differ in their last token only share one pass: the logits before that token are the same.
    """

    passes: list[tuple[int, ...]]  # the tokens of each pass
    items: list[list[int]]  # the items that each pass scores
    keep: list[int]  # for how many last positions of each pass the logits are needed


def scoring_plan(wholes: Sequence[Sequence[int]], counts: np.ndarray) -> ScoringPlan:
    """`wholes`: an item's prompt and continuation as tokens; `counts` (n,): the continuation's tokens."""
    users: dict[tuple[int, ...], list[int]] = {}
    for i, whole in enumerate(wholes):
        users.setdefault(tuple(whole[:-1]), []).append(i)
    keep = [int(max(counts[i] for i in items)) for items in users.values()]
    return ScoringPlan(list(users), list(users.values()), keep)
