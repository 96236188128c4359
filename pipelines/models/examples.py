"""Training examples as tokens, in the order of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from pipelines.core.errors import InputError
from pipelines.models.rendering import Rendering

Row = dict[str, Any]  # {"prompt": [messages], "completion": [one message], "rejected": the same, or "liked"}
Example = dict[str, list[int]]  # a row's tokens, and which are the answer's
_CHUNK_BATCHES = 8  # batches whose rows are sorted by length together


def training_order(lengths: Sequence[int], epochs: int, batch_size: int, seed: int) -> list[int]:
    """Row indices of all epochs in the order of training: shuffled, batches of similar length."""
    rng = np.random.default_rng(seed)
    every = np.concatenate([rng.permutation(len(lengths)) for _ in range(epochs)])
    order: list[int] = []
    for first in range(0, len(every), batch_size * _CHUNK_BATCHES):
        chunk = sorted(every[first : first + batch_size * _CHUNK_BATCHES].tolist(), key=lambda i: lengths[i])
        batches = [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
        full = [batch for batch in batches if len(batch) == batch_size]
        mixed = [full[i] for i in rng.permutation(len(full))] + batches[len(full) :]
        order += [i for batch in mixed for i in batch]
    return order


def tokenized(rows: Sequence[Row], rendering: Rendering, most: int) -> list[Example]:
    """Each row's tokens, and which are the answer's. Raises InputError for a row of more than `most`."""
    found = []
    for row in rows:
        prompt, answer = asked_and_said(row, "completion", rendering, most)
        mask = [0] * len(prompt) + [1] * len(answer)
        found.append({"input_ids": prompt + answer, "completion_mask": mask})
    return found


def asked_and_said(row: Row, said: str, rendering: Rendering, most: int) -> tuple[list[int], list[int]]:
    """The tokens of a row's prompt, and those of the answer under `said`. Raises InputError: see above."""
    example = rendering.example(row["prompt"], row[said][0]["content"])
    tokens = len(example.prompt_ids) + len(example.answer_ids)
    if tokens > most:
        raise InputError(
            f"A training example has {tokens} tokens; train.max_length_tokens is {most}.",
            "Run curate again with the same settings: it leaves such rows out and counts them.",
        )
    return example.prompt_ids, example.answer_ids


def dataset(examples: list[Example]) -> datasets.Dataset:
    """With labels in place, so that TRL changes nothing of it."""
    return datasets.Dataset.from_list(
        [
            {
                "input_ids": one["input_ids"],
                "labels": [
                    token if answer else -100
                    for token, answer in zip(one["input_ids"], one["completion_mask"], strict=True)
                ],
            }
            for one in examples
        ]
    )
