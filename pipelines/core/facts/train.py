"""What `train` writes down."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeFloat, PositiveInt

from pipelines.core.config.training import Objective
from pipelines.core.facts.reading import Facts, Part

Curve = tuple[tuple[int, float], ...]  # (optimizer step, value)


class TrainFacts(Facts):
    """Losses are in nats a token for sft, and those of their papers for kto and dpo.

    `method`: continue from the baseline adapter, or fresh.
    `fresh_because`: why a fresh adapter was trained although `train.method` is continue. `rendering_digest`:
    how messages become tokens; what is asked later has to become the same. `moved`: how far the adapter's
    weights went, over their size at the start. `reload_difference`: of the logits once the adapter was saved
    and read again, as a share of the largest.
    """

    step = "train"
    adapter_digest: str
    base_digest: str
    tokenizer_digest: str
    method: Literal["continue", "fresh"]
    trainable_parameters: int
    steps: int
    objective: Objective = "sft"
    stopped_early: bool
    loss: Curve
    dev_loss: Curve
    grad_norms: Curve
    fresh_because: str | None = None
    rendering_digest: str | None = None
    moved: float | None = None
    unmoved_tensors: int | None = None
    reload_difference: float | None = None


class DoneAgain(Part):
    """Work of a training that no checkpoint kept. `gpu_seconds`: for all GPUs that it held."""

    seconds: NonNegativeFloat
    cpu_seconds: NonNegativeFloat
    gpu_seconds: NonNegativeFloat


class Interruptions(DoneAgain):
    """How often a training ended before its last step, and what had to be done again for it."""

    times: PositiveInt


class TrainReadings(Facts):
    """`interruptions`: None for a training that ran through."""

    step = "train"
    interruptions: Interruptions | None = None
