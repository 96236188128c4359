"""The base model's files, and how it is asked."""

from __future__ import annotations

from pathlib import Path

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.models.base import base_folder
from pipelines.models.rendering import CannotRender, Rendering, rendering_of
from pipelines.operations.doctor.finding import Finding, failure

OF_TODAY = ("strftime_now", "date_string")  # templates that ask for them write the date into a prompt
THINKING = ("enable_thinking", "thinking")


def look_at_base(config: Config) -> tuple[Path | None, Finding]:
    """The base model's folder, if it is there with its weights."""
    try:
        base = base_folder(config)
    except InputError as error:
        return None, failure("base model", error)
    weights = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    if not weights:
        said = f"The base model in {base} has no safetensors files."
        return None, Finding("fail", "base model", said, "Convert its weights to safetensors.")
    return base, Finding("ok", "base model", f"{base} holds {weights / 2**20:,.0f} MiB of weights.")


def look_at_rendering(config: Config) -> tuple[Rendering | None, list[Finding]]:
    """The base model's chat template, its end of a turn, and what it does with a system prompt."""
    try:
        rendering = rendering_of(config)
    except CannotRender as error:
        return None, [failure("chat template", error)]
    end = rendering.tokenizer.decode(rendering.end_ids)
    return rendering, [
        Finding("ok", "chat template", f"It renders a conversation, and {end!r} ends an answer."),
        _system(config, rendering),
        *_elsewhere(config, rendering),
    ]


def _system(config: Config, rendering: Rendering) -> Finding:
    if not config.task.system_prompt:
        return Finding("ok", "system prompt", "The task has none.")
    if rendering.takes_system:
        return Finding("ok", "system prompt", "The template has a place for it.")
    return Finding("ok", "system prompt", "The template has no place for it: it begins the first user turn.")


def _elsewhere(config: Config, rendering: Rendering) -> list[Finding]:
    """What a server behind the gateway may render differently."""
    template = str(rendering.tokenizer.chat_template)
    if config.serving.engine == "embedded" or not any(name in template for name in (*OF_TODAY, *THINKING)):
        return []
    return [
        Finding(
            "warn",
            "server's template",
            "The template knows a date or thinking, and the server renders it by itself.",
            "Let the server take chat_template_kwargs, or give it a template without them.",
        )
    ]
