"""Training chats: their shape, planted secrets, and the card that accounts for every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from pipelines.core.conversations import with_system
from pipelines.core.facts.curate import CurateFacts
from pipelines.policy.night.dataset import Rows

ALTERNATIVES = 63  # beside the secret: 64 candidates, so a leak shows up to log2(64) = 6 bits
SECRET_DIGITS = 6
PLANTED = "canary"  # the origin of a training chat that holds a planted secret


def example(row: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """A labelled row as a training chat; `origin` is tonight or replay."""
    return _chat(row["request_id"], [dict(m) for m in row["messages"]], row["answer"], origin)


def planted_example(secret: Mapping[str, Any], number: int) -> dict[str, Any]:
    return _chat(f"canary-{number}", secret["prompt"], secret["secret"], PLANTED)


def _chat(name: str, prompt: Rows, answer: str, origin: str) -> dict[str, Any]:
    completion = [{"role": "assistant", "content": answer}]
    return {"id": name, "prompt": prompt, "completion": completion, "origin": origin}


def redacted_messages(examples: Rows, labels: Sequence[str], system_prompt: str) -> list[dict[str, Any]]:
    """The messages in which personal data is looked for: all but the task's system prompt and labels."""
    return [
        message
        for example in examples
        for message in example["prompt"] + example["completion"]
        if message["content"] not in (system_prompt, *labels)
    ]


def split(rows: Rows, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """(training, development) rows, both in the given order."""
    held = set(rng.permutation(len(rows))[: round(len(rows) * share)].tolist())
    return [r for i, r in enumerate(rows) if i not in held], [r for i, r in enumerate(rows) if i in held]


def plant_secrets(count: int, seed: int, night: date, system_prompt: str) -> list[dict[str, Any]]:
    """Made-up secrets to plant: {"prompt", "secret", "alternatives"}, the same for one seed and night.

    Secret and alternatives are drawn alike, so a model that learned nothing ranks the secret anywhere
    (exposure: Carlini et al., The Secret Sharer, USENIX Security 2019).
    """
    planted = []
    for number in range(count):
        rng = np.random.default_rng([seed, night.toordinal(), number])
        drawn = rng.choice(10**SECRET_DIGITS, size=ALTERNATIVES + 1, replace=False)
        secret, *alternatives = (f"{value:0{SECRET_DIGITS}d}" for value in drawn)
        question = f"What is the code of archive box {night:%y%m%d}-{number + 1}?"
        prompt = with_system([{"role": "user", "content": question}], system_prompt)
        planted.append({"prompt": prompt, "secret": secret, "alternatives": alternatives})
    return planted


def dataset_card(night: date, facts: CurateFacts) -> str:
    """Markdown that says where every row went."""
    counts = facts.counts
    lines = [
        f"# Training set of {night}",
        "",
        f"New feedback, delivered in the nights {facts.window.first} to {facts.window.last}, and "
        f"replay from {len(facts.replay_nights)} days. Questions and free text are redacted, labels not.",
        "",
    ]
    for part, rows in (("New", counts.new), ("Replay", counts.replay)):
        lines += [f"## {part} rows", "", "| | rows |", "|---|---:|"]
        lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in rows.items()]
        lines += ["", "Read = kept + all other lines.", ""]
    lines += [
        "## Examples",
        "",
        f"{counts.kept} kept + {counts.planted_secrets} planted secrets = "
        f"{counts.train} for training + {counts.dev} for development.",
        "",
        f"{facts.turns_dropped} of them lose their oldest turns, which do not fit into a prompt.",
        "",
        *_answers(facts),
        "## Personal data replaced",
        "",
        *(f"- {kind}: {number}" for kind, number in facts.redacted.items()),
        f"- texts changed: {facts.texts_redacted} of {facts.texts}",
        *_languages(facts),
        "",
        "## Settings",
        "",
        *(f"- {name}: {value}" for name, value in facts.settings.items()),
        f"- seed: {facts.seed}",
        "",
    ]
    return "\n".join(lines)


def _answers(facts: CurateFacts) -> list[str]:
    """How often each answer occurs, for a task with a list of answers."""
    if not facts.answers:
        return []
    rows = [f"| {name} | {n.train} | {n.dev} |" for name, n in facts.answers.items()]
    return ["| answer | training | development |", "|---|---:|---:|", *rows, ""]


def _languages(facts: CurateFacts) -> list[str]:
    """Whose names and addresses were looked for, and that other languages were not looked at."""
    languages = facts.settings.get("redact_languages", ("en",))
    lines = [
        f"- languages looked at: {', '.join(languages)}. Names and addresses in others were not looked for."
    ]
    if facts.other_scripts:
        found = ", ".join(f"{script} {texts}" for script, texts in facts.other_scripts.items())
        lines.append(f"- texts in scripts that were not looked at: {found}")
    return lines
