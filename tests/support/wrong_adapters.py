"""Adapters whose files are wrong: what they say of themselves, or a bit of their weights."""

import json

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "adapter_model.safetensors"


def doubled(folder):
    config = json.loads((folder / "adapter_config.json").read_text())
    config["lora_alpha"] *= 2
    (folder / "adapter_config.json").write_text(json.dumps(config))


def flipped(folder):
    """The highest bit of an exponent but one, in a matrix of the last layer: 0.01 becomes about 10^17."""
    weights = load_file(folder / WEIGHTS)
    name = next(name for name in sorted(weights, reverse=True) if "lora_A" in name)
    weights[name].view(torch.int32)[0, 0] ^= 1 << 29
    weights[name].view(torch.int32)[0, 0] |= 1 << 30
    save_file(weights, folder / WEIGHTS)
