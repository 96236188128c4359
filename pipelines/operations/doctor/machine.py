"""Memory and disk, beside what the base model needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import torch
from transformers import AutoConfig

from pipelines.core.config import Config, Model
from pipelines.operations.doctor.finding import Finding

GIB = 2**30
WORKING_GIB = 1.5  # Python with torch, and a batch under way
FREE_GIB, LEAST_GIB = 5.0, 1.0  # of disk: a night's files, MLflow, checkpoints
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4_BYTES = 4.127 / 8  # a weight, with its part of the constants (Dettmers et al., QLoRA, 2023, section 3)
EVALUATIONS = 3  # evaluate, fairness and safety


def look_at_machine(config: Config, base: Path | None) -> list[Finding]:
    """`base`: the base model's folder, where there is one."""
    return [_disk(Path(config.home)), *([_memory(config, base)] if base else [])]


def weights_gib(model: Model, base: Path) -> float:
    """What the base model's weights take while they answer."""
    sizes = AutoConfig.from_pretrained(base)
    stored = str(getattr(sizes, "dtype", None)).removeprefix("torch.")
    parameters = sum(path.stat().st_size for path in base.glob("*.safetensors")) / BYTES.get(stored, 4)
    each_bytes = BYTES.get(_answering(model, stored), 4)
    if model.quantize == "none":
        return parameters * each_bytes / GIB
    text = sizes.get_text_config()
    embedded = text.vocab_size * text.hidden_size * (1 if text.tie_word_embeddings else 2)  # as they are
    return (embedded * each_bytes + (parameters - embedded) * NF4_BYTES) / GIB


def _answering(model: Model, stored: str) -> str:
    """The type of the weights that answer, see `models.weights`."""
    if model.dtype == "auto":
        return stored if torch.cuda.is_available() and model.device != "cpu" else "float32"
    return stored if model.dtype == "checkpoint" else model.dtype


def _disk(home: Path) -> Finding:
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    said = f"{free:,.1f} GiB are free for {home}."
    if free < LEAST_GIB:
        return Finding("fail", "disk", said, f"Free {LEAST_GIB:.0f} GiB or more.")
    if free < FREE_GIB:
        return Finding("warn", "disk", said, f"Free {FREE_GIB:.0f} GiB or more.")
    return Finding("ok", "disk", said)


def _memory(config: Config, base: Path) -> Finding:
    at_once = min(config.evaluations_at_once or os.cpu_count() or 1, EVALUATIONS)
    needed = at_once * (weights_gib(config.model, base) + WORKING_GIB)
    available = psutil.virtual_memory().available / GIB
    said = f"A night needs about {needed:,.1f} GiB of memory, and {available:,.1f} GiB are available."
    if needed > psutil.virtual_memory().total / GIB:
        return Finding("fail", "memory", said, "Take a machine with more memory, or a smaller base model.")
    if needed > available:
        return Finding("warn", "memory", said, "Stop other programs before the night.")
    return Finding("ok", "memory", said)
