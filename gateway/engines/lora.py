"""Different LoRA adapters for the rows of one batch, with two matrix products per layer.

PEFT's mixed batches (`adapter_names=`) pick the rows of each adapter by index, in every layer. Here the
adapters of a layer lie side by side in one A and one B, and each row is masked to its own part. docs/adr/0005
compares the two. PEFT still reads, checks and holds the adapters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraLayer
from torch.nn import functional

from gateway.engines.base import EngineError

WEIGHTS = "adapter_model.safetensors"
MOST_RANK, MOST_SCALE = 4096, 1000.0


class RowAdapters:
    """Which adapter each row of the next forward pass uses; None is the bare base model."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self._masks: dict[tuple[tuple[str, int], ...], torch.Tensor] = {}

    def use(self, names: Sequence[str | None]) -> None:
        """Set the adapters' names, one per row."""
        self.names = list(names)
        self.only = names[0] if len(set(names)) == 1 else None
        self.bare = not any(names)
        self._masks.clear()

    def others(self, widths: tuple[tuple[str, int], ...], like: torch.Tensor) -> torch.Tensor:
        """Mask (rows, 1, sum of widths): True where a column belongs to another adapter than the row's."""
        if widths not in self._masks:
            columns = [name for name, width in widths for _ in range(width)]
            mask = [[column != name for column in columns] for name in self.names]
            self._masks[widths] = torch.tensor(mask, device=like.device)[:, None, :]
        return self._masks[widths]


class _Mixed:
    """The forward pass of one LoRA layer, (rows, tokens, in) -> (rows, tokens, out)."""

    def __init__(self, layer: Linear, rows: RowAdapters) -> None:
        down: Any = layer.lora_A
        self._base: Any = layer.get_base_layer()
        self._rows = rows
        self._widths = tuple((name, int(down[name].weight.shape[0])) for name in down)
        self._a = torch.cat([down[name].weight for name in down])
        self._b = torch.cat([_scaled(layer, name).T for name in down])
        ends = torch.tensor([width for _, width in self._widths]).cumsum(0).tolist()
        self._spans = {
            name: slice(end - width, end) for (name, width), end in zip(self._widths, ends, strict=True)
        }

    def __call__(self, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        out: torch.Tensor = self._base(x)
        span = self._spans.get(self._rows.only) if self._rows.only else slice(None)
        if self._rows.bare or span is None:
            return out
        narrow = functional.linear(x.to(self._a.dtype), self._a[span])
        if not self._rows.only:
            # Not a product with 0: an adapter that overflows would reach other rows as 0 * inf = NaN.
            narrow = narrow.masked_fill(self._rows.others(self._widths, x), 0)
        flat = out.view(-1, out.shape[-1])
        if flat.dtype != self._b.dtype:  # a base in half precision: PEFT too adds in the adapter's type
            both = flat + narrow.reshape(-1, narrow.shape[-1]) @ self._b[span]
            return both.to(out.dtype).view(out.shape)
        return flat.addmm_(narrow.reshape(-1, narrow.shape[-1]), self._b[span]).view(out.shape)


def install(model: torch.nn.Module, rows: RowAdapters) -> None:
    """Make every LoRA layer follow `rows`. Call it again after an adapter was loaded or unloaded."""
    for layer in _layers(model):
        layer.forward = _Mixed(layer, rows) if layer.lora_A else layer.get_base_layer().forward


def check(model: torch.nn.Module, name: str) -> None:
    """Raise EngineError unless the adapter is finite low-rank matrices on linear layers, and nothing else."""
    layers = [layer for layer in _layers(model) if name in layer.lora_A]
    odd = [
        type(layer).__name__ for layer in layers if type(layer) is not Linear or name in layer.lora_variant
    ]
    if odd or not layers or any(layer.lora_bias.get(name) for layer in layers):
        parts = ", ".join(sorted(set(odd))) or ("biases" if layers else "no LoRA layer")
        raise EngineError(
            f"This engine serves plain LoRA on linear layers; the adapter has {parts}.",
            "Serve this adapter with another engine, or train without DoRA, biases and embeddings.",
        )
    for layer in layers:
        _check_scale(layer.scaling[name])
        weights = (layer.lora_A[name].weight, layer.lora_B[name].weight, _scaled(layer, name))
        if not all(weight.isfinite().all() for weight in weights):
            raise EngineError("The adapter has weights that are NaN or infinite.", "Train the adapter again.")


def check_files(folder: Path) -> None:
    """Raise EngineError unless an adapter has safetensors weights, and scales and ranks that make sense."""
    if not (folder / WEIGHTS).is_file():
        raise EngineError(f"{folder} has no {WEIGHTS}.", "Store the adapter's weights as safetensors.")
    config = json.loads((folder / "adapter_config.json").read_bytes())
    ranks = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and 0 < rank <= MOST_RANK for rank in ranks):
        raise EngineError(
            f"The adapter's ranks are {ranks}, outside 1 to {MOST_RANK}.", "Train the adapter again."
        )
    alphas = [config.get("lora_alpha"), *(config.get("alpha_pattern") or {}).values()]
    for alpha in alphas:
        _check_scale(alpha / max(ranks) if isinstance(alpha, int | float) else math.nan)


def _check_scale(scale: float) -> None:
    """Beyond it a product with the weights may overflow, and 0 times infinity would be NaN for others."""
    if not math.isfinite(scale) or abs(scale) > MOST_SCALE:
        raise EngineError(
            f"The adapter scales its weights by {scale:.3g}, where {MOST_SCALE:g} is the most.",
            "Train the adapter again with another lora_alpha.",
        )


def _scaled(layer: Any, name: str) -> torch.Tensor:
    scaled: torch.Tensor = layer.lora_B[name].weight * layer.scaling[name]
    return scaled


def _layers(model: torch.nn.Module) -> list[Any]:
    return [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
