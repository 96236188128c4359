"""The model that a training begins with: the base with a fresh adapter, or with one that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers.integrations.liger import apply_liger_kernel

from pipelines.core.config import Model, Train
from pipelines.core.errors import MachineError, TrainingError
from pipelines.models.adapters import attach, fill
from pipelines.models.weights import device_of, is_installed, load_base


def adapted(base: Path, model: Model, settings: Train, seed: int, start: Path | None) -> PeftModel:
    """The base with the adapter in the folder `start`, or with a fresh one. Its adapter can be trained."""
    _check_machine(model, settings)
    transformers.set_seed(seed)
    loaded = load_base(base, model, getattr(torch, settings.dtype))
    if start is None:
        found = _fresh(loaded, settings)
    else:
        found = attach(loaded, start, "default", trainable=True)
        fill(found, start, "default", trainable=True)
    if settings.liger:  # not its loss: TRL's own does not keep the logits either
        apply_liger_kernel(found, {"cross_entropy": False, "fused_linear_cross_entropy": False})
    return found


def _fresh(loaded: Any, settings: Train) -> PeftModel:
    modules = settings.target_modules
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules if modules == "all-linear" else modules.split(","),
    )
    try:
        return get_peft_model(loaded, lora)
    except ValueError as error:
        raise TrainingError(
            f"train.target_modules names no layers of the base model ({str(error).split('. Please')[0]}).",
            "Write all-linear, or names such as q_proj,v_proj.",
        ) from error


def _check_machine(model: Model, settings: Train) -> None:
    """Raise MachineError for settings that need another machine, before the base is read."""
    on_cpu = device_of(model).type == "cpu"
    if settings.liger and not is_installed("liger_kernel"):
        raise MachineError(
            "train.liger is true, and liger-kernel is not installed.",
            "Install liger-kernel, or set train.liger to false.",
        )
    if settings.liger and on_cpu:
        raise MachineError(
            "train.liger is true, and the training runs on a CPU, for which Liger has no kernels.",
            "Run on a machine with a GPU, or set train.liger to false.",
        )
    # After a pass without gradients, bitsandbytes 0.50 keeps a layout on CPUs with AVX512-BF16 that has none.
    if model.quantize != "none" and on_cpu:
        raise MachineError(
            f"model.quantize is {model.quantize}, and the training runs on a CPU, where bitsandbytes loses "
            "gradients.",
            "Run on a machine with a GPU, or set model.quantize to none.",
        )
