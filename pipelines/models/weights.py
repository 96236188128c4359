"""Loads the base model's weights: on which device, in which type, and with which attention."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from pipelines.core.config import Model
from pipelines.core.errors import MachineError


def device_of(model: Model) -> torch.device:
    """Where the model computes. Raises MachineError for a GPU that is not there."""
    has_gpu = torch.cuda.is_available()
    if model.device == "cuda" and not has_gpu:
        raise MachineError(
            "model.device is cuda, and torch finds no GPU on this machine.",
            "Run on a machine with a GPU and a CUDA build of torch, or set model.device to auto.",
        )
    return torch.device("cuda" if has_gpu and model.device != "cpu" else "cpu")


def answering_dtype(model: Model) -> torch.dtype | str:
    """The type of the weights that answer; `auto` is transformers' word for the checkpoint's own."""
    if model.dtype == "auto":  # a CPU is slow in half precision, and rounds differently for each batch
        return "auto" if device_of(model).type == "cuda" else torch.float32
    named: torch.dtype | str = "auto" if model.dtype == "checkpoint" else getattr(torch, model.dtype)
    return named


def load_base(folder: Path, model: Model, dtype: torch.dtype | str) -> Any:
    """The base model in its place. Raises MachineError where the machine lacks what the settings ask for."""
    device, more = device_of(model), dict[str, Any]()
    if model.quantize == "nf4":
        more["quantization_config"] = _four_bits(dtype)
    if device.type == "cuda" or model.quantize != "none":
        more["device_map"] = {"": device}  # read straight to where it computes
    if model.attention != "auto":
        more["attn_implementation"] = model.attention
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **more)
    except ImportError as error:  # of a package for attention or for 4 bits
        raise MachineError(
            f"The base model needs a package that is not installed or does not run here ({_line(error)}).",
            "Install it, or change model.attention or model.quantize.",
        ) from error


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _four_bits(dtype: torch.dtype | str) -> BitsAndBytesConfig:
    if not is_installed("bitsandbytes"):
        raise MachineError(
            "model.quantize is nf4, and bitsandbytes is not installed.",
            "Install bitsandbytes, or set model.quantize to none.",
        )
    computed = dtype if isinstance(dtype, torch.dtype) else torch.bfloat16
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=computed,
    )


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
