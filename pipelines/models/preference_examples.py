"""Rated answers and pairs of answers as tokens, as TRL's trainers for KTO and DPO read them."""

from __future__ import annotations

from collections.abc import Sequence

import datasets

from pipelines.models.examples import Row, asked_and_said
from pipelines.models.rendering import Rendering


def rated(rows: Sequence[Row], rendering: Rendering, most: int) -> datasets.Dataset:
    """A prompt, an answer, and whether people liked it. Raises what `tokenized` raises."""
    found = []
    for row in rows:
        prompt, answer = asked_and_said(row, "completion", rendering, most)
        found.append({"prompt_ids": prompt, "completion_ids": answer, "label": row["liked"]})
    return datasets.Dataset.from_list(found)


def pairs(rows: Sequence[Row], rendering: Rendering, most: int) -> datasets.Dataset:
    """A prompt, the better answer and the worse one. Raises what `tokenized` raises."""
    found = []
    for row in rows:
        prompt, chosen = asked_and_said(row, "completion", rendering, most)
        _, rejected = asked_and_said(row, "rejected", rendering, most)
        found.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected})
    return datasets.Dataset.from_list(found)


def with_mismatched(data: datasets.Dataset, batch_size: int) -> datasets.Dataset:
    """The data with another example's answer beside each prompt, from which KTO estimates its KL term.

    It is the answer before it in its batch, and for the first the batch's last (section 4.1 of KTO,
    arXiv:2402.01306). A batch of one takes the answer before the batch.
    """
    order: list[int] = []
    for first in range(0, len(data), batch_size):
        batch = list(range(first, min(first + batch_size, len(data))))
        order += [batch[-1] if len(batch) > 1 else max(0, first - 1), *batch[:-1]]
    others = data.select(order).select_columns("completion_ids")
    return datasets.concatenate_datasets(
        [data, others.rename_column("completion_ids", "KL_completion_ids")], axis=1
    )
