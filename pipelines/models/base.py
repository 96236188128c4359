"""The base model's files: where they lie, what identifies them, and its tokenizer."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import huggingface_hub

from pipelines.core.cache import cached
from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import Message
from pipelines.core.errors import InputError, IntegrityError
from pipelines.core.files import sha256_of
from pipelines.stores.blobs import Folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = Sequence[Message]
_WEIGHTS = ("*.safetensors", "config.json")
DIGESTS = ".digests.json"  # in a copy: the sha256 of each file when it came


def base_folder(config: Config) -> Path:
    """The local folder with the configured base model; one that a URI names is copied into the home, once."""
    cache = Path(config.home) / "cache" / "base"
    return resolve_base(config.path(config.model.base), config.model.revision, cache)


def base_digest(config: Config) -> str:
    """sha256 of the configured base model."""
    return digest_base(base_folder(config))


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
    source = Folder(uri, "model.base")
    files = source.files()
    if not files:
        raise InputError(f"There is no base model at {uri}.", "Correct model.base.")
    known = [
        [path, stored.size_bytes, stored.version or stored.modified_at] for path, stored in files.items()
    ]

    def fetch(folder: Path) -> None:
        source.download({path: folder / path for path in files})
        for path, stored in files.items():
            if (folder / path).stat().st_size != stored.size_bytes:
                raise IntegrityError(
                    f"The base model's {path} came with {(folder / path).stat().st_size} of"
                    f" {stored.size_bytes} bytes from {uri}.",
                    "Run the same command again.",
                )
        (folder / DIGESTS).write_text(json.dumps(_digests(folder)))

    return cached(cache, digest_of([uri, known])[:16], fetch, _is_whole)


def _is_whole(copy: Path) -> bool:
    """Whether a copy's files are those that came."""
    kept = copy / DIGESTS
    return kept.is_file() and json.loads(kept.read_bytes()) == _digests(copy)


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != DIGESTS)
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


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
    from transformers import AutoTokenizer  # takes seconds, and a rollback asks for digests only

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
