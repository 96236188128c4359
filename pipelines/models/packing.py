"""Whether a base model keeps the examples of one packed sequence apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from pipelines.core.errors import TrainingError
from pipelines.models.reload import LIMITS, PLACES, probe_logits


def check_packing(model: Any, examples: Sequence[Sequence[int]], dtype: torch.dtype) -> None:
    """Raise TrainingError where an example's logits change with the example before it in the sequence.

    Architectures and attention kernels differ in whether they read where a packed example begins.
    """
    first, last = examples[0], examples[-1]
    alone = probe_logits(model, [last], dtype)
    difference = float((_packed(model, [first, last], dtype) - alone).abs().max() / alone.abs().max())
    if not difference <= LIMITS[dtype]:
        raise TrainingError(
            "The base model does not keep the examples of a packed sequence apart: the logits of one differ "
            f"by {difference:.2%} of the largest, where {LIMITS[dtype]:.2%} is the most.",
            "Set train.packing to false, or try another model.attention.",
        )


def _packed(model: Any, examples: Sequence[Sequence[int]], dtype: torch.dtype) -> torch.Tensor:
    """(places, vocabulary) logits at the end of the last example, in one sequence with the others."""
    collated = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(
        [{"input_ids": list(ids), "labels": list(ids)} for ids in examples]
    )
    inputs = {
        name: value.to(model.device) if isinstance(value, torch.Tensor) else value
        for name, value in collated.items()
        if name != "labels"
    }
    trains = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(model.device.type, dtype, enabled=dtype != torch.float32):
            logits: torch.Tensor = model(**inputs, use_cache=False, logits_to_keep=PLACES).logits
    finally:
        model.train(trains)
    return logits[0].float().cpu()
