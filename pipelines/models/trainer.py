"""LoRA fine-tuning with PEFT and TRL's SFTTrainer, resumable at a checkpoint to the bit (on CPU).

The order of examples is laid down before training, so a resumed run sees the very batches that the
interrupted one would have seen. Results are read back from the checkpoints, in every case.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import safetensors.torch
import torch
import transformers
import trl.trainer.utils
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, EarlyStoppingCallback, TrainerCallback, TrainerState
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from pipelines.core.config import Train
from pipelines.core.errors import TrainingError
from pipelines.models.engine import load_tokenizer

log = logging.getLogger("nightshift")
Row = dict[str, Any]  # {"prompt": [messages], "completion": [one message]}
Report = Callable[[int, dict[str, float]], None]

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_COMPLETE = "complete.json"  # written last into a checkpoint: without it a kill cut the checkpoint short
_CHUNK_BATCHES = 8  # batches whose rows are sorted by length together
_PROGRESS_EVERY_S = 10.0

# Off Triton devices TRL projects every position on the vocabulary, prompts too, so that shapes stay fixed for
# compilers. Eagerly that is wasted: scoring the completions only saves a quarter of a CPU step, same loss.
trl.trainer.utils._use_triton = lambda device: True


@dataclass(frozen=True)
class Trained:
    """A finished training: the adapter's folder and its curves as (step, value) pairs."""

    adapter: Path
    trainable_parameters: int
    steps: int
    stopped_early: bool
    loss: list[tuple[int, float]]
    dev_loss: list[tuple[int, float]]
    grad_norm: list[tuple[int, float]]


def train(
    base: Path,
    settings: Train,
    rows: Sequence[Row],
    dev: Sequence[Row],
    seed: int,
    scratch: Path,
    start: Path | None = None,
    report: Report = lambda step, values: None,
) -> Trained:
    """Train an adapter on `rows`, watching the loss on `dev`, from `start` or from nothing.

    `scratch` keeps the checkpoints; called again after a kill with the same arguments it goes on from
    the last complete one. `report` gets every step's numbers once they are known.
    Raises TrainingError where nothing was trained, or the loss or a gradient is not a number.
    """
    for noisy in (transformers.utils.logging, datasets.utils.logging):
        noisy.set_verbosity_error()
        noisy.disable_progress_bar()
    model = _adapted(base, settings, seed, start)
    trainable = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise TrainingError("trainable parameters", "none", "Name other layers in train.target_modules.")
    last = _last_checkpoint(scratch)
    if last is None or not json.loads((last / _COMPLETE).read_text())["stopped"]:
        _fit(model, base, settings, rows, dev, seed, scratch, last, report)
        last = _last_checkpoint(scratch)
    if last is None:
        raise TrainingError("at least one training step", "none", "Give more examples or epochs.")
    state = TrainerState.load_from_json(str(last / "trainer_state.json"))
    best = Path(state.best_model_checkpoint or last)
    trained = Trained(
        adapter=best,
        trainable_parameters=sum(p.numel() for p in trainable.values()),
        steps=state.global_step,
        stopped_early=state.global_step < state.max_steps,
        loss=_curve(state, "loss"),
        dev_loss=_curve(state, "eval_loss"),
        grad_norm=_curve(state, "grad_norm"),
    )
    _check(trained, trainable)
    return trained


def save_adapter(trained: Trained, target: Path, base_name: str) -> None:
    """Copy the adapter's two files, with a configuration that is equal for equal adapters."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trained.adapter / ADAPTER_FILES[1], target / ADAPTER_FILES[1])
    config = json.loads((trained.adapter / ADAPTER_FILES[0]).read_text())
    modules = config["target_modules"]
    config["target_modules"] = modules if isinstance(modules, str) else sorted(modules)
    config["base_model_name_or_path"] = base_name  # a name: the folder differs from machine to machine
    (target / ADAPTER_FILES[0]).write_text(json.dumps(config, indent=1, sort_keys=True))


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
        return PeftModel.from_pretrained(model, str(start), is_trainable=True)
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
            "train.target_modules that name layers of the base model",
            str(error).split(". Please")[0],
            "Write all-linear, or names such as q_proj,v_proj.",
        ) from error


def _fit(
    model: PeftModel,
    base: Path,
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
    data = datasets.Dataset.from_list([_chat(row) for row in rows])
    data = data.select(training_order(lengths, settings.epochs, batch, seed))
    steps = math.ceil(len(data) / batch)
    trainer = SFTTrainer(
        model=model,
        args=_arguments(settings, seed, scratch, steps, bool(dev), fresh=resume is None),
        train_dataset=data,
        eval_dataset=datasets.Dataset.from_list([_chat(row) for row in dev]) if dev else None,
        processing_class=load_tokenizer(base),
        callbacks=[
            _Progress(report),
            *([EarlyStoppingCallback(settings.early_stopping_patience)] if dev else []),
        ],
    )
    trainer.remove_callback(PrinterCallback)
    if resume is not None:
        log.info("train goes on from the checkpoint at %s", resume.name.replace("checkpoint-", "step "))
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)


def _chat(row: Row) -> Row:
    return {"prompt": row["prompt"], "completion": row["completion"]}


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


class _Progress(TrainerCallback):
    """A line every few seconds, every step's numbers to `report`, and a mark on finished checkpoints."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._started = self._said = time.monotonic()
        self._first: tuple[int, float] | None = None  # step and tokens when the clock started

    def on_log(self, args, state, control, logs=None, **kwargs):  # type: ignore[no-untyped-def]
        values = {name: float(logs[key]) for key, name in _LOGGED.items() if key in (logs or {})}
        if not values:
            return
        self._report(state.global_step, values)
        now, tokens = time.monotonic(), float(logs.get("num_tokens", 0))
        if "dev_loss" in values:
            log.info(
                "train step %d/%d: dev loss %.3f", state.global_step, state.max_steps, values["dev_loss"]
            )
        elif self._first is None:
            self._started, self._first = now, (state.global_step, tokens)
        elif now - self._said >= _PROGRESS_EVERY_S:
            seconds, (step, before) = now - self._started, self._first
            left = seconds / (state.global_step - step) * (state.max_steps - state.global_step)
            words = "train step %d/%d: loss %.3f, %.0f tokens/s, %.0f s left"
            rate = (tokens - before) / seconds
            log.info(words, state.global_step, state.max_steps, values["loss"], rate, left)
            self._said = now

    def on_save(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        (checkpoint / _COMPLETE).write_text(json.dumps({"stopped": control.should_training_stop}))


_LOGGED = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "eval_loss": "dev_loss",
}


def _last_checkpoint(scratch: Path) -> Path | None:
    """The newest complete checkpoint; torn ones are removed."""
    found = sorted(scratch.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    for torn in (path for path in found if not (path / _COMPLETE).exists()):
        shutil.rmtree(torn)
    return next((path for path in reversed(found) if path.exists()), None)


def _curve(state: TrainerState, key: str) -> list[tuple[int, float]]:
    return [(int(entry["step"]), float(entry[key])) for entry in state.log_history if key in entry]


def _check(trained: Trained, before: dict[str, torch.Tensor]) -> None:
    """Refuse a training that did nothing, or went wrong. Raises TrainingError."""
    norms = [value for _, value in trained.grad_norm]
    losses = [value for _, value in (trained.dev_loss or trained.loss)]
    if not all(math.isfinite(value) for value in (*norms, *losses)):
        raise TrainingError("finite losses and gradients", "inf or nan", "Lower train.learning_rate.")
    if not norms or max(norms) <= 0:
        raise TrainingError(
            "gradients above zero", f"{len(norms)} steps with none", "Check that completions hold text."
        )
    after = safetensors.torch.load_file(trained.adapter / ADAPTER_FILES[1])
    moved = sum(
        float((after[key].float() - p.float().cpu()).abs().sum())
        for name, p in before.items()
        if (key := name.replace(".default", "")) in after
    )
    if not moved > 0:
        raise TrainingError(
            "weights that moved", "the adapter it started from", "Raise train.learning_rate or train.epochs."
        )
    if len(losses) > 1 and max(losses) - min(losses) <= 0:
        raise TrainingError("a loss that moved", f"{losses[0]:.4f} at every step", "Check the training data.")
