"""Ends a training that goes wrong at once, and saves what a stopped one needs to go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import TrainerCallback

from pipelines.core.errors import TrainingError
from pipelines.models.adapters import check_loaded
from pipelines.models.checkpoints import mark_complete
from pipelines.models.reload import probe_logits, save_probe
from pipelines.models.stopping import StopRequest, interrupted

_FINITE = ("loss", "grad_norm", "eval_loss")


class Guard(TrainerCallback):
    """`resumed`: the checkpoint that training goes on from. `examples`: tokens whose logits are kept."""

    def __init__(
        self, stop: StopRequest, resumed: Path | None, examples: Sequence[Sequence[int]], dtype: torch.dtype
    ) -> None:
        self._stop, self._resumed, self._examples, self._dtype = stop, resumed, examples, dtype

    def on_train_begin(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        if self._resumed:
            check_loaded(model, self._resumed)
        self._stop.can_save = True

    def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
        odd = [name for name in _FINITE if not math.isfinite((logs or {}).get(name, 0.0))]
        if odd:
            raise TrainingError(
                f"{odd[0]} is {logs[odd[0]]} at step {state.global_step}: a loss or a gradient is not a "
                "finite number.",
                "Lower train.learning_rate.",
            )
        self._save_if_asked(state, control)

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self._save_if_asked(state, control)

    def on_evaluate(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self._save_if_asked(state, control)

    def on_save(self, args, state, control, model=None, **kwargs):  # type: ignore[no-untyped-def]
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        logits = probe_logits(model, self._examples, self._dtype)
        if not logits.isfinite().all():  # before the checkpoint counts as one: a retry goes on from an older
            raise TrainingError(
                f"After step {state.global_step} the model's logits are no finite numbers.",
                "Lower train.learning_rate.",
            )
        save_probe(checkpoint, logits)
        mark_complete(checkpoint, stopped=control.should_training_stop)
        if self._stop.asked:
            raise interrupted(
                f"The training was asked to stop and saved step {state.global_step} of {state.max_steps}."
            )

    def _save_if_asked(self, state, control):  # type: ignore[no-untyped-def]
        if self._stop.asked and state.global_step > 0:
            control.should_save = True

    def on_train_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self._stop.can_save = False
