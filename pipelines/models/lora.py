"""The shape of a LoRA adapter: its rank, its scale and the layers it sits in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from pipelines.core.config import Train

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class LoraShape:
    """`layers`: the names of the base model's layers that have LoRA matrices."""

    rank: int
    alpha: float
    layers: frozenset[str]


def shape_of(adapter: Path, base: Path) -> LoraShape:
    """What an adapter's own configuration says."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return LoraShape(config["r"], config["lora_alpha"], _layers(base, config["target_modules"]))


def asked_shape(settings: Train, base: Path) -> LoraShape:
    """What `[train]` asks for."""
    asked = settings.target_modules
    names = asked if asked == ALL_LINEAR else [name.strip() for name in asked.split(",")]
    return LoraShape(settings.rank, settings.alpha, _layers(base, names))


def differences(found: LoraShape, asked: LoraShape) -> list[str]:
    """In words, how an adapter differs from what the settings ask for."""
    said = []
    if found.rank != asked.rank:
        said.append(f"its rank is {found.rank} and train.rank is {asked.rank}")
    if found.alpha != asked.alpha:
        said.append(f"its alpha is {found.alpha} and train.alpha is {asked.alpha}")
    if found.layers != asked.layers:
        said.append("train.target_modules names other layers than its own")
    return said


def _layers(base: Path, asked: str | list[str]) -> frozenset[str]:
    """The linear layers that PEFT takes for names, all-linear or a regular expression, without weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    head = model.get_output_embeddings()
    linear = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
    }
    if asked == ALL_LINEAR:
        return frozenset(name for name, module in linear.items() if module is not head)
    if isinstance(asked, str):
        return frozenset(name for name in linear if re.fullmatch(asked, name))
    return frozenset(name for name in linear if any(f".{name}".endswith(f".{end}") for end in asked))
