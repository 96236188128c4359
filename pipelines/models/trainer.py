"""LoRA fine-tuning with PEFT and TRL's SFTTrainer; on a CPU it resumes at a checkpoint to the bit.

The order of examples is fixed before training, so a resumed training sees the same batches as one that was
never interrupted. Results are always read back from the checkpoints.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import transformers
import trl.trainer.utils
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, EarlyStoppingCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from pipelines.core.config import Train
from pipelines.core.errors import InputError, TrainingError
from pipelines.models.adapters import attach, fill
from pipelines.models.checkpoints import Trained, check_effect, is_last, last_checkpoint, read_training
from pipelines.models.progress import Progress, Report
from pipelines.models.rendering import Rendering

log = logging.getLogger("nightshift")
Row = dict[str, Any]  # {"prompt": [messages], "completion": [one message]}
_CHUNK_BATCHES = 8  # batches whose rows are sorted by length together

# Without Triton, TRL projects every position on the vocabulary, the prompts' too, so that shapes stay fixed
# for compilers. We do not compile: scoring the completions alone gives the same loss in three quarters of the
# time.
trl.trainer.utils._use_triton = lambda device: True


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
) -> Trained:
    """Train an adapter on `rows`, from the adapter in the folder `start` or from nothing.

    The tokens of a row are those of its prompt as `rendering` asks it, and then those of its answer.
    Training stops early once the loss on `dev` no longer falls. `scratch` keeps the checkpoints: called again
    after a kill with the same arguments, it goes on from the last complete one. `report` gets each step's
    numbers. Raises TrainingError where nothing was trained, or the loss or a gradient is not a number.
    """
    for noisy in (transformers.utils.logging, datasets.utils.logging):
        noisy.set_verbosity_error()
        noisy.disable_progress_bar()
    model = _adapted(base, settings, seed, start)
    trainable = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise TrainingError(
            "The model has no trainable parameters.", "Name other layers in train.target_modules."
        )
    last = last_checkpoint(scratch)
    if last is None or not is_last(last):
        _fit(model, rendering, settings, rows, dev, seed, scratch, last, report)
        last = last_checkpoint(scratch)
    if last is None:
        raise TrainingError("Training ended without a single step.", "Give more examples or epochs.")
    trained = read_training(last, sum(p.numel() for p in trainable.values()))
    check_effect(trained, trainable)
    return trained


def training_order(lengths: Sequence[int], epochs: int, batch_size: int, seed: int) -> list[int]:
    """Row indices of all epochs in the order of training: shuffled, batches of similar length."""
    rng = np.random.default_rng(seed)
    every = np.concatenate([rng.permutation(len(lengths)) for _ in range(epochs)])
    order: list[int] = []
    for first in range(0, len(every), batch_size * _CHUNK_BATCHES):
        chunk = sorted(every[first : first + batch_size * _CHUNK_BATCHES].tolist(), key=lambda i: lengths[i])
        batches = [chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size)]
        full = [batch for batch in batches if len(batch) == batch_size]
        mixed = [full[i] for i in rng.permutation(len(full))] + batches[len(full) :]
        order += [i for batch in mixed for i in batch]
    return order


def _adapted(base: Path, settings: Train, seed: int, start: Path | None) -> PeftModel:
    transformers.set_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, settings.dtype))
    if start is not None:
        adapted = attach(model, start, "default", trainable=True)
        fill(adapted, start, "default", trainable=True)
        return adapted
    modules = settings.target_modules
    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=modules if modules == "all-linear" else modules.split(","),
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        raise TrainingError(
            f"train.target_modules names no layers of the base model ({str(error).split('. Please')[0]}).",
            "Write all-linear, or names such as q_proj,v_proj.",
        ) from error


def _fit(
    model: PeftModel,
    rendering: Rendering,
    settings: Train,
    rows: Sequence[Row],
    dev: Sequence[Row],
    seed: int,
    scratch: Path,
    resume: Path | None,
    report: Report,
) -> None:
    lengths = [sum(len(m["content"]) for m in (*row["prompt"], *row["completion"])) for row in rows]
    batch = settings.batch_size * settings.gradient_accumulation
    data = datasets.Dataset.from_list(tokenized(rows, rendering, settings.max_length_tokens))
    data = data.select(training_order(lengths, settings.epochs, batch, seed))
    steps = math.ceil(len(data) / batch)
    trainer = SFTTrainer(
        model=model,
        args=_arguments(settings, seed, scratch, steps, bool(dev), fresh=resume is None),
        train_dataset=data,
        eval_dataset=datasets.Dataset.from_list(tokenized(dev, rendering, settings.max_length_tokens))
        if dev
        else None,
        processing_class=rendering.tokenizer,
        callbacks=[
            Progress(report),
            *([EarlyStoppingCallback(settings.early_stopping_patience)] if dev else []),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    if resume is not None:
        log.info("train goes on from the checkpoint at %s", resume.name.replace("checkpoint-", "step "))
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def tokenized(rows: Sequence[Row], rendering: Rendering, most: int) -> list[dict[str, list[int]]]:
    """Each row's tokens, and which are the answer's. Raises InputError for a row of more than `most`."""
    found = []
    for row in rows:
        example = rendering.example(row["prompt"], row["completion"][0]["content"])
        mask = [0] * len(example.prompt_ids) + [1] * len(example.answer_ids)
        if len(mask) > most:
            raise InputError(
                f"A training example has {len(mask)} tokens; train.max_length_tokens is {most}.",
                "Run curate again with the same settings: it leaves such rows out and counts them.",
            )
        found.append({"input_ids": example.prompt_ids + example.answer_ids, "completion_mask": mask})
    return found


def _arguments(
    settings: Train, seed: int, scratch: Path, steps: int, has_dev: bool, fresh: bool
) -> SFTConfig:
    cuda = torch.cuda.is_available()
    every = settings.eval_every_steps if has_dev else settings.save_every_steps
    return SFTConfig(
        output_dir=str(scratch),
        num_train_epochs=1,  # the data already hold every epoch
        train_sampling_strategy="sequential",
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=2 * settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        gradient_checkpointing=False,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=int(settings.warmup_share * steps),
        max_length=settings.max_length_tokens,
        packing=settings.packing,
        completion_only_loss=True,
        bf16=settings.dtype == "bfloat16",
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        logging_steps=1,
        eval_strategy="steps" if has_dev else "no",
        eval_steps=every,
        eval_on_start=has_dev and fresh,
        save_strategy="steps",
        save_steps=every,  # the best step must have a checkpoint
        save_total_limit=2,
        load_best_model_at_end=has_dev,
        metric_for_best_model="eval_loss" if has_dev else None,
        restore_callback_states_from_checkpoint=True,
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
    )
