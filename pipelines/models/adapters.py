"""Puts a LoRA adapter into a model, and compares the tensors of its file with those of the model.

PEFT loads the tensors whose names match and says nothing of the others: an adapter of another base model, or
one whose layers have other names, would then answer as the bare base does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import PeftConfig, PeftModel, PeftModelForCausalLM

from pipelines.core.errors import InputError

WEIGHTS = "adapter_model.safetensors"
_REMEDY = "Point model.base to the base model that the adapter was trained on, or train a fresh adapter."
_DORA = "lora_magnitude_vector.weight"  # a file leaves out the last word
_NAMED = 3  # tensors that a fault names
Tensors = Mapping[str, torch.Tensor]


def attach(model: Any, folder: Path, name: str, trainable: bool = False) -> PeftModel:
    """The model with an adapter's layers, whose weights are not read yet: see `fill`.

    Raises InputError where the base model has none of the layers that the adapter sits in.
    """
    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = not trainable
    try:
        if not isinstance(model, PeftModel):
            return PeftModelForCausalLM(model, config, adapter_name=name)
        if name not in model.peft_config:
            model.add_adapter(name, config)
    except ValueError as error:
        problem = f"The adapter in {folder} does not fit the base model ({str(error).split('. ')[0]})."
        raise InputError(problem, _REMEDY) from error
    return model


def fill(model: PeftModel, folder: Path, name: str, trainable: bool = False) -> None:
    """Read the weights of an attached adapter from its folder.

    Raises InputError unless each tensor of the file is in the model, each of the model's is in the file, and
    shapes and values are the same.
    """
    file, own = read_tensors(folder), tensors(model, name)
    _refuse(folder, _odd_names(file, own) or _odd_shapes(file, own))
    model.load_adapter(str(folder), adapter_name=name, is_trainable=trainable)
    check_loaded(model, folder, name)


def check_loaded(model: Any, folder: Path, name: str = "default") -> None:
    """Raise InputError unless the model holds exactly the tensors of an adapter's file."""
    file, own = read_tensors(folder), tensors(model, name)
    _refuse(folder, _odd_names(file, own) or _odd_shapes(file, own) or _odd_values(file, own))


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """An adapter's tensors by name, as its file holds them. Raises InputError where there is no file."""
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} has no {WEIGHTS}.", "Store the adapter's weights as safetensors.")
    return safetensors.torch.load_file(folder / WEIGHTS)


def tensors(model: Any, name: str) -> dict[str, torch.Tensor]:
    """The adapter's tensors in a model, by the names that a file gives them.

    PEFT's own `get_peft_model_state_dict` loses the tensors of layer 1 where another adapter is called 1.
    """
    lora, saved = re.compile(rf"\.(lora_\w+)\.{re.escape(name)}(?=\.|$)"), f".modules_to_save.{name}."
    found = {}
    for key, tensor in model.named_parameters():
        if lora.search(key):
            found[lora.sub(r".\1", key).replace(_DORA, _DORA.removesuffix(".weight"))] = tensor
        elif saved in key:
            found[key.replace(saved, ".")] = tensor
    return found


def _odd_names(file: Tensors, own: Tensors) -> list[str]:
    extra, missing = sorted(file.keys() - own.keys()), sorted(own.keys() - file.keys())
    said = []
    if extra:
        said.append(f"{len(extra)} of its {len(file)} tensors are not in the model ({_first(extra)})")
    if missing:
        said.append(
            f"{len(missing)} of the model's {len(own)} tensors are not in its file ({_first(missing)})"
        )
    return said


def _odd_shapes(file: Tensors, own: Tensors) -> list[str]:
    other = [
        f"{name} is {list(file[name].shape)}, in the model {list(own[name].shape)}"
        for name in sorted(file)
        if file[name].shape != own[name].shape
    ]
    return [f"{len(other)} of its {len(file)} tensors have another shape ({_first(other)})"] if other else []


def _odd_values(file: Tensors, own: Tensors) -> list[str]:
    """Tensors that lost precision in the model's type, or were not loaded at all."""
    other = [
        f"{name} is {_type(file[name])}, in the model {_type(own[name])}"
        for name in sorted(file)
        if not _equal(file[name], own[name])
    ]
    said = f"{len(other)} of its {len(file)} tensors have other values in the model"
    return [f"{said} ({_first(other)})"] if other else []


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """NaN equals NaN: that is another fault."""
    return torch.allclose(one.double(), other.detach().cpu().double(), rtol=0, atol=0, equal_nan=True)


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _first(words: Iterable[str]) -> str:
    every = [word.removeprefix("base_model.model.") for word in words]
    return ", ".join([*every[:_NAMED], *(["..."] if len(every) > _NAMED else [])])


def _refuse(folder: Path, odd: list[str]) -> None:
    if odd:
        raise InputError(f"The adapter in {folder} does not fit the model: {' and '.join(odd)}.", _REMEDY)
