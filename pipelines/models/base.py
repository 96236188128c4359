"""The base model's files: where they lie, what identifies them, and its tokenizer."""

from __future__ import annotations

import contextlib
import functools
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import huggingface_hub
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import Message
from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of

Messages = Sequence[Message]
_WEIGHTS = ("*.safetensors", "config.json")


def base_folder(config: Config) -> Path:
    """The local folder with the configured base model; one that a URI names is copied into the home, once."""
    cache = Path(config.home) / "cache" / "base"
    return resolve_base(config.path(config.model.base), config.model.revision, cache)


@functools.cache
def resolve_base(base: str, revision: str = "", cache: Path | None = None) -> Path:
    """A folder, a URI with a scheme (copied below `cache`), or a hub id at a revision (in the hub's cache).

    Raises InputError where nothing is found.
    """
    if "://" in base:
        return _copied(base, cache or Path(tempfile.mkdtemp(prefix="nightshift-base-")))
    if Path(base).is_dir():
        return Path(base)
    if Path(base).is_absolute() or base.count("/") > 1:
        raise InputError(
            f"There is no folder {base} with a base model.", "Run `make setup`, or correct model.base."
        )
    try:
        return Path(huggingface_hub.snapshot_download(base, revision=revision or None))
    except (OSError, ValueError) as error:  # not there, no way to the hub, or no such name
        said = str(error).strip().splitlines()[0]
        raise InputError(
            f"The base model {base} could not be fetched from its hub ({said}).",
            "Correct model.base and model.revision, or name a local folder.",
        ) from error


def _copied(uri: str, cache: Path) -> Path:
    """The copy of a folder behind a URI, by a digest of its listing: changed files give another copy."""
    fs, root = fsspec.core.url_to_fs(uri.rstrip("/"))
    try:
        files = fs.find(root, detail=True)
    except OSError as error:
        raise InputError(f"The base model {uri} cannot be read ({error}).", "Correct model.base.") from error
    if not files:
        raise InputError(f"There is no base model at {uri}.", "Correct model.base.")
    known = [[path.removeprefix(root), *_version(info)] for path, info in sorted(files.items())]
    target = cache / digest_of([uri, known])[:16]
    if not target.is_dir():
        partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        fs.get(f"{root}/", f"{partial}/", recursive=True)
        with contextlib.suppress(OSError):  # another process was faster
            partial.rename(target)
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _version(info: Mapping[str, Any]) -> list[str]:
    return [str(info[name]) for name in ("size", "ETag", "etag", "mtime", "LastModified") if name in info]


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
