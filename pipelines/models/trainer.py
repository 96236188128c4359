"""LoRA fine-tuning with PEFT and TRL's trainers; on a CPU it resumes at a checkpoint to the bit.

The order of examples is fixed before training, so a resumed training sees the same batches as one that was
never interrupted. Results are always read back from the checkpoints.
"""

from __future__ import annotations

import gc
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
import trl.trainer.utils
from peft import PeftModel
from transformers import EarlyStoppingCallback
from transformers.trainer_callback import PrinterCallback

from pipelines.core.config import Model, Train
from pipelines.core.config.training import Objective
from pipelines.core.errors import TrainingError
from pipelines.models.adapted import adapted
from pipelines.models.adapters import tensors
from pipelines.models.checkpoints import Trained, check_effect, is_last, last_checkpoint, read_training
from pipelines.models.examples import Row, tokenized, training_order
from pipelines.models.guard import Guard
from pipelines.models.objectives import examples_of, in_batches, trainer_of
from pipelines.models.packing import check_packing
from pipelines.models.progress import Progress, Report
from pipelines.models.reload import PROBED, probe_logits, reload_difference
from pipelines.models.rendering import Rendering
from pipelines.models.stopping import StopRequest, stop_requests
from pipelines.models.weights import device_of

log = logging.getLogger("nightshift")

# Without Triton, TRL projects every position on the vocabulary, the prompts' too, so that shapes stay fixed
# for compilers. We do not compile: scoring the completions alone gives the same loss in three quarters of the
# time.
trl.trainer.utils._use_triton = lambda device: True


@dataclass(frozen=True)
class _Work:
    """What is trained on what."""

    base: Path
    rendering: Rendering
    settings: Train
    model: Model
    rows: Sequence[Row]
    dev: Sequence[Row]
    seed: int
    scratch: Path
    start: Path | None
    report: Report
    objective: Objective

    @property
    def dtype(self) -> torch.dtype:
        found: torch.dtype = getattr(torch, self.settings.dtype)
        return found

    @property
    def probed(self) -> list[list[int]]:
        """The tokens that the model is asked before and after it is saved."""
        return self.tokens(self.rows[:PROBED])

    def tokens(self, rows: Sequence[Row]) -> list[list[int]]:
        some = tokenized(rows, self.rendering, self.settings.max_length_tokens)
        return [example["input_ids"] for example in some]

    def examples(self, rows: Sequence[Row]) -> datasets.Dataset:
        return examples_of(self.objective, rows, self.rendering, self.settings.max_length_tokens)

    def adapted(self, start: Path | None) -> PeftModel:
        return adapted(self.base, self.model, self.settings, self.seed, start)


def train(
    base: Path,
    rendering: Rendering,
    settings: Train,
    rows: Sequence[Row],
    dev: Sequence[Row],
    seed: int,
    scratch: Path,
    start: Path | None = None,
    report: Report = lambda step, values: None,
    model: Model | None = None,
    objective: Objective = "sft",
) -> Trained:
    """Train an adapter on `rows`, from the adapter in the folder `start` or from nothing.

    The tokens of a row are those of its prompt as `rendering` asks it, and then those of its answer.
    Training stops early once the loss on `dev` no longer falls. `scratch` keeps the checkpoints: called again
    after a kill with the same arguments, it goes on from the last complete one. `report` gets each step's
    numbers. `model` says where and how the base computes. By `objective`, rows have beside `prompt` and
    `completion` nothing (sft), `liked` (kto), or `rejected`, the worse answer (dpo).

    Raises TrainingError where nothing was trained, the loss or a gradient is not a number, or the saved
    adapter answers otherwise than the trained model; MachineError where the machine lacks what the settings
    ask for; and Interrupted after SIGTERM, with a checkpoint of the last step.
    """
    for noisy in (transformers.utils.logging, datasets.utils.logging):
        noisy.set_verbosity_error()
        noisy.disable_progress_bar()
    work = _Work(
        base, rendering, settings, model or Model(), rows, dev, seed, scratch, start, report, objective
    )
    with stop_requests() as stop:
        trained = _trained(work, stop)
        _free_memory()
        logits = probe_logits(work.adapted(trained.adapter), work.probed, work.dtype)
        difference = reload_difference(trained.adapter, logits, work.dtype)
    return replace(trained, reload_difference=difference)


def _trained(work: _Work, stop: StopRequest) -> Trained:
    """Train to the end, unless the last checkpoint is the end; then read back what came of it."""
    model = work.adapted(work.start)
    before = {
        name: tensor.detach().cpu().clone()
        for name, tensor in tensors(model, "default").items()
        if tensor.requires_grad
    }
    if not before:
        raise TrainingError(
            "The model has no trainable parameters.", "Name other layers in train.target_modules."
        )
    last = last_checkpoint(work.scratch)
    if last is None or not is_last(last):
        _fit(model, work, last, stop)
        last = last_checkpoint(work.scratch)
    if last is None:
        raise TrainingError("Training ended without a single step.", "Give more examples or epochs.")
    trained = read_training(last, sum(tensor.numel() for tensor in before.values()))
    return check_effect(trained, before)


def _free_memory() -> None:
    """A trainer and its model hold each other: collected now, the base can be read a second time."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _fit(model: PeftModel, work: _Work, resume: Path | None, stop: StopRequest) -> None:
    settings, dev = work.settings, work.dev
    if settings.packing:
        check_packing(model, work.tokens([work.rows[0], work.rows[-1]]), work.dtype)
    # TRL rounds them beside a base in 4 bits: small steps would be lost, and so would the start.
    exact = {name: weights.data for name, weights in tensors(model, "default").items()}
    batch = settings.batch_size * settings.gradient_accumulation
    order = training_order([*map(_length, work.rows)], settings.epochs, batch, work.seed)
    data = work.examples(work.rows).select(order)
    trainer = trainer_of(
        work.objective,
        _arguments(work, math.ceil(len(data) / batch), fresh=resume is None),
        settings,
        work.rows,
        model=model,
        train_dataset=in_batches(work.objective, data, settings.batch_size),
        eval_dataset=in_batches(work.objective, work.examples(dev), 2 * settings.batch_size) if dev else None,
        processing_class=work.rendering.tokenizer,
        callbacks=[
            Progress(work.report),
            Guard(stop, resume, work.probed, work.dtype),  # after it: what goes wrong is reported first
            *([EarlyStoppingCallback(settings.early_stopping_patience)] if dev else []),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    for name, weights in tensors(model, "default").items():
        weights.data = exact[name].float()
    if resume is not None:
        log.info("train goes on from the checkpoint at %s", resume.name.replace("checkpoint-", "step "))
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def _length(row: Row) -> int:
    """Characters of all that a row's examples hold."""
    said = (row["prompt"], row["completion"], row.get("rejected", []))
    return sum(len(message["content"]) for messages in said for message in messages)


def _arguments(work: _Work, steps: int, fresh: bool) -> dict[str, Any]:
    """TRL's arguments that are the same for all objectives."""
    settings, has_dev = work.settings, bool(work.dev)
    on_gpu = device_of(work.model).type == "cuda"
    every = settings.eval_every_steps if has_dev else settings.save_every_steps
    return {
        "output_dir": str(work.scratch),
        "num_train_epochs": 1,  # the data already hold every epoch
        "train_sampling_strategy": "sequential",
        "per_device_train_batch_size": settings.batch_size,
        "per_device_eval_batch_size": 2 * settings.batch_size,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": int(settings.warmup_share * steps),
        "max_length": None,  # `tokenized` has refused longer rows
        "bf16": settings.dtype == "bfloat16",
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # the guard has to see them
        "eval_strategy": "steps" if has_dev else "no",
        "eval_steps": every,
        "eval_on_start": has_dev and fresh,
        "save_strategy": "steps",
        "save_steps": every,  # the best step must have a checkpoint
        "save_total_limit": 2,
        "load_best_model_at_end": has_dev,
        "metric_for_best_model": "eval_loss" if has_dev else None,
        "restore_callback_states_from_checkpoint": True,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": work.seed,
        "data_seed": work.seed,
    }
