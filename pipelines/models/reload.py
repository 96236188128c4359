"""Whether a saved adapter, read again beside a freshly read base, answers like the model that was trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from pipelines.core.errors import TrainingError

PROBED = 2  # training examples that are asked
PLACES = 4  # the last tokens of each, whose logits are compared
FILE = "reload.safetensors"  # in a checkpoint: what the model said when it was saved
LIMITS = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # of the largest logit; rounding alone stays below


def probe_logits(model: Any, examples: Sequence[Sequence[int]], dtype: torch.dtype) -> torch.Tensor:
    """(places, vocabulary) logits at the end of each example's tokens, without dropout."""
    device, trains = model.device, model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            asked = [torch.tensor([list(ids)], device=device) for ids in examples]
            said = [model(input_ids=ids, logits_to_keep=PLACES).logits[0].float().cpu() for ids in asked]
    finally:
        model.train(trains)
    return torch.cat(said)


def save_probe(checkpoint: Path, logits: torch.Tensor) -> None:
    safetensors.torch.save_file({"logits": logits.contiguous()}, checkpoint / FILE)


def reload_difference(checkpoint: Path, logits: torch.Tensor, dtype: torch.dtype) -> float:
    """The largest difference between the logits of the reloaded adapter and those at the time of saving.

    As a share of the largest logit. Raises TrainingError where it is more than rounding explains.
    """
    saved = safetensors.torch.load_file(checkpoint / FILE)["logits"]
    difference = float((saved - logits).abs().max() / saved.abs().max())
    if not difference <= LIMITS[dtype]:
        raise TrainingError(
            f"The saved adapter answers differently from the model that was trained: its logits differ by "
            f"{difference:.2%} of the largest, where {LIMITS[dtype]:.2%} is the most.",
            "Remove the step's folder below scratch/ and train again.",
        )
    return difference
