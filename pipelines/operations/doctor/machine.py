"""Memory and disk, beside what the base model needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
from transformers import AutoConfig

from pipelines.core.config import Config
from pipelines.operations.doctor.finding import Finding

GIB = 2**30
WORKING_GIB = 1.5  # Python with torch, and a batch under way
FREE_GIB, LEAST_GIB = 5.0, 1.0  # of disk: a night's files, MLflow, checkpoints
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def look_at_machine(config: Config, base: Path | None) -> list[Finding]:
    """`base`: the base model's folder, where there is one."""
    return [_disk(Path(config.home)), *([_memory(config, base)] if base else [])]


def _disk(home: Path) -> Finding:
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free / GIB
    said = f"{free:,.1f} GiB are free for {home}."
    if free < LEAST_GIB:
        return Finding("fail", "disk", said, f"Free {LEAST_GIB:.0f} GiB or more.")
    if free < FREE_GIB:
        return Finding("warn", "disk", said, f"Free {FREE_GIB:.0f} GiB or more.")
    return Finding("ok", "disk", said)


def _memory(config: Config, base: Path) -> Finding:
    stored = str(getattr(AutoConfig.from_pretrained(base), "dtype", None)).removeprefix("torch.")
    parameters = sum(path.stat().st_size for path in base.glob("*.safetensors")) / BYTES.get(stored, 4)
    # evaluate and safety run at once, each with the weights in float32.
    needed = 2 * (parameters * 4 / GIB + WORKING_GIB)
    available = psutil.virtual_memory().available / GIB
    said = f"A night needs about {needed:,.1f} GiB of memory, and {available:,.1f} GiB are available."
    if needed > psutil.virtual_memory().total / GIB:
        return Finding("fail", "memory", said, "Take a machine with more memory, or a smaller base model.")
    if needed > available:
        return Finding("warn", "memory", said, "Stop other programs before the night.")
    return Finding("ok", "memory", said)
