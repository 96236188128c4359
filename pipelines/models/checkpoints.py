"""Checkpoints of a training: which one is complete, what it recorded, and the adapter in it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from transformers import TrainerState

from pipelines.core.errors import TrainingError

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
COMPLETE = "complete.json"  # written last into a checkpoint: without it a kill cut the checkpoint short


@dataclass(frozen=True)
class Trained:
    """A finished training: the adapter's folder and its curves as (step, value) pairs.

    `moved`: the change of all trained weights over their size at the start (Frobenius norms).
    `reload_difference`: of the logits once the adapter was saved and read again, as a share of the largest.
    """

    adapter: Path
    trainable_parameters: int
    steps: int
    stopped_early: bool
    loss: list[tuple[int, float]]
    dev_loss: list[tuple[int, float]]
    grad_norm: list[tuple[int, float]]
    moved: float = 0.0
    unmoved_tensors: int = 0
    reload_difference: float = 0.0


def mark_complete(checkpoint: Path, stopped: bool) -> None:
    """`stopped`: the training ends with this checkpoint."""
    (checkpoint / COMPLETE).write_text(json.dumps({"stopped": stopped}))


def is_last(checkpoint: Path) -> bool:
    """Whether the training has ended with this complete checkpoint."""
    return bool(json.loads((checkpoint / COMPLETE).read_text())["stopped"])


def last_checkpoint(scratch: Path) -> Path | None:
    """The newest complete checkpoint. Checkpoints that a kill cut short are removed."""
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    for torn in (path for path in found if not (path / COMPLETE).exists()):
        shutil.rmtree(torn)
    return next((path for path in reversed(found) if path.exists()), None)


def read_training(last: Path, trainable_parameters: int) -> Trained:
    """What the last checkpoint says of the training; the adapter is the best one's."""
    state = TrainerState.load_from_json(str(last / "trainer_state.json"))
    return Trained(
        adapter=Path(state.best_model_checkpoint or last),
        trainable_parameters=trainable_parameters,
        steps=state.global_step,
        stopped_early=state.global_step < state.max_steps,
        loss=_curve(state, "loss"),
        dev_loss=_curve(state, "eval_loss"),
        grad_norm=_curve(state, "grad_norm"),
    )


def save_adapter(trained: Trained, target: Path, base_name: str) -> None:
    """Copy the adapter's two files, with a configuration that is equal for equal adapters."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trained.adapter / ADAPTER_FILES[1], target / ADAPTER_FILES[1])
    config = json.loads((trained.adapter / ADAPTER_FILES[0]).read_text())
    modules = config["target_modules"]
    config["target_modules"] = modules if isinstance(modules, str) else sorted(modules)
    config["base_model_name_or_path"] = base_name  # a name: the folder differs from machine to machine
    (target / ADAPTER_FILES[0]).write_text(json.dumps(config, indent=1, sort_keys=True))


def check_effect(trained: Trained, before: dict[str, torch.Tensor]) -> Trained:
    """What was trained, with how far it moved. Raises TrainingError where it went wrong or changed nothing.

    `before`: the trainable weights by their names in a file, as they were before the first step.
    """
    norms = [value for _, value in trained.grad_norm]
    losses = [value for _, value in (trained.dev_loss or trained.loss)]
    if not all(math.isfinite(value) for value in (*norms, *losses)):
        raise TrainingError("A loss or a gradient is not a finite number.", "Lower train.learning_rate.")
    if not norms or max(norms) <= 0:
        raise TrainingError(
            f"Not one of {len(norms)} steps had a gradient above zero.", "Check that completions hold text."
        )
    changes = _changes(trained.adapter, before)
    if not max(changes.values(), default=0.0) > 0:
        raise TrainingError(
            "The trained weights equal those it started from.", "Raise train.learning_rate or train.epochs."
        )
    if len(losses) > 1 and max(losses) - min(losses) <= 0:
        raise TrainingError(f"The loss stayed at {losses[0]:.4f} at every step.", "Check the training data.")
    size = math.hypot(*(float(weights.double().norm()) for weights in before.values()))
    moved = math.hypot(*changes.values())
    unmoved = sum(change == 0 for change in changes.values())
    return replace(trained, moved=moved / size if size else moved, unmoved_tensors=unmoved)


def _changes(adapter: Path, before: dict[str, torch.Tensor]) -> dict[str, float]:
    """The Frobenius norm of each trained tensor's change."""
    after = safetensors.torch.load_file(adapter / ADAPTER_FILES[1])
    return {
        name: float((after[name].double() - weights.double()).norm())
        for name, weights in before.items()
        if name in after
    }


def _curve(state: TrainerState, key: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry[key])) for entry in state.log_history if key in entry]
