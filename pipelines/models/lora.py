"""The shape of a LoRA adapter: its rank, its scale and the layers it sits in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from pipelines.core.config import Train


@dataclass(frozen=True)
class LoraShape:
    """`layers` as PEFT stores them: names sorted, or a regular expression."""

    rank: int
    alpha: float
    layers: tuple[str, ...] | str

    @property
    def params(self) -> dict[str, Any]:
        """As MLflow logs it."""
        return asdict(self)


def shape_of(adapter: Path) -> LoraShape:
    """What an adapter's own configuration says."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    layers = config["target_modules"]
    return LoraShape(
        config["r"], config["lora_alpha"], layers if isinstance(layers, str) else _sorted(layers)
    )


def asked_shape(settings: Train, base: Path) -> LoraShape:
    """What `[train]` asks for; `all-linear` stands for the base model's own linear layers."""
    names = settings.target_modules
    layers = _linear_layers(base) if names == "all-linear" else _sorted(names.split(","))
    return LoraShape(settings.rank, settings.alpha, layers)


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


def _linear_layers(base: Path) -> tuple[str, ...]:
    """The names of the linear layers but the last, as PEFT's all-linear takes them. No weights are read."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    head = model.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    linear = (
        name for name, module in model.named_modules() if isinstance(module, kinds) and module is not head
    )
    return _sorted({name.rsplit(".", 1)[-1] for name in linear})


def _sorted(names: Any) -> tuple[str, ...]:
    return tuple(sorted(name.strip() for name in names))
