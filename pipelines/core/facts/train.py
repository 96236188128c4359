"""What `train` writes down."""

from __future__ import annotations

from typing import Literal

from pipelines.core.facts.reading import Facts

Curve = tuple[tuple[int, float], ...]  # (optimizer step, value)


class TrainFacts(Facts):
    """Losses are in nats a token. `method`: continue from the baseline adapter, or fresh."""

    step = "train"
    adapter_digest: str
    base_digest: str
    tokenizer_digest: str
    method: Literal["continue", "fresh"]
    trainable_parameters: int
    steps: int
    stopped_early: bool
    loss: Curve
    dev_loss: Curve
    grad_norms: Curve
