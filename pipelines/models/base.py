"""The base model's files: where they lie, what identifies them, and its tokenizer."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import fsspec
import huggingface_hub
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pipelines.core.contract import digest_of
from pipelines.core.conversations import Message
from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of

Messages = Sequence[Message]
_WEIGHTS = ("*.safetensors", "config.json")


@functools.cache
def resolve_base(base: str) -> Path:
    """A local folder with the base model: a folder, a URI with a scheme (copied) or a hub id (cached).

    Raises InputError where nothing is found.
    """
    if "://" in base:
        target = tempfile.mkdtemp(prefix="nightshift-base-")
        fs, root = fsspec.core.url_to_fs(base.rstrip("/"))
        fs.get(f"{root}/", f"{target}/", recursive=True)
        return Path(target)
    if Path(base).is_dir():
        return Path(base)
    if Path(base).is_absolute() or base.count("/") > 1:
        raise InputError(
            f"There is no folder {base} with a base model.", "Run `make setup`, or correct model.base."
        )
    try:
        return Path(huggingface_hub.snapshot_download(base))
    except (OSError, ValueError) as error:  # not there, no way to the hub, or no such name
        said = str(error).strip().splitlines()[0]
        raise InputError(
            f"The base model {base} could not be fetched from its hub ({said}).",
            "Correct model.base, or name a local folder.",
        ) from error


@functools.cache
def digest_base(folder: Path) -> str:
    """sha256 over the base's configuration and weights. Raises InputError without safetensors."""
    files = sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern))
    if not any(path.suffix == ".safetensors" for path in files):
        raise InputError(
            f"The base model in {folder} has no safetensors files.", "Convert its weights to safetensors."
        )
    return digest_of({path.name: sha256_of(path) for path in files})


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The base's tokenizer; without a padding token it pads with the end-of-sequence token."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def digest_tokenizer(folder: Path) -> str:
    """sha256 over the tokenizer's rules and the chat template: what turns messages into tokens."""
    tokenizer = load_tokenizer(folder)
    return digest_of({"rules": tokenizer.backend_tokenizer.to_str(), "template": tokenizer.chat_template})


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, without special ones added."""
    return tokenizer(list(texts), add_special_tokens=False).input_ids if len(texts) else []
