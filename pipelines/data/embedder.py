"""Sentence embeddings by a packaged, local or hub model, with mean pooling as all-MiniLM-L6-v2 was trained.

Source of the pooling: https://www.sbert.net/examples/sentence_transformer/applications/computing-embeddings
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from pipelines.core.contract import digest_of
from pipelines.core.errors import InputError
from pipelines.core.files import sha256_of

PACKAGED = "packaged:"
BATCH = 64
MAX_TOKENS = 256  # the length all-MiniLM-L6-v2 was trained with
MAX_CHARACTERS = 16 * MAX_TOKENS  # the rest is cut off first, so that a huge text costs no more


def resolve(ref: str) -> str:
    """A folder or hub id from `packaged:NAME/PATH` (inside an installed package), a folder or a hub id.

    Raises InputError when the package or its folder is missing; the package is not imported.
    """
    if not ref.startswith(PACKAGED):
        return ref
    name, _, inside = ref.removeprefix(PACKAGED).partition("/")
    spec = importlib.util.find_spec(name)
    folder = Path(next(iter(spec.submodule_search_locations or []), "")) / inside if spec else None
    if folder is None or not folder.is_dir():
        raise InputError(
            f"The package {name}, which holds the embedding model, is not installed."
            if spec is None
            else f"The package {name} has no folder {inside!r} with an embedding model.",
            "Install requirements/pipelines.txt, or set model.embedder to a hub id or a folder.",
        )
    return str(folder)


def weight_digests(ref: str, pattern: str = "*.safetensors") -> dict[str, str]:
    """Name -> sha256 of each file of weights; none for a hub id, which names what it is."""
    return {path.name: sha256_of(path) for path in sorted(Path(resolve(ref)).glob(pattern))}


class Embedder:
    """A sentence-embedding model on the CPU; equal calls give equal vectors on one machine.

    `identity` changes with the model, so it names what was embedded with it.
    """

    def __init__(self, ref: str, threads: int = 0) -> None:
        """`threads` 0 leaves torch's default, one a core."""
        if threads:
            torch.set_num_threads(threads)
        source = resolve(ref)
        disable_progress_bar()
        self._tokenizer = AutoTokenizer.from_pretrained(source)
        self._model = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
        self.dimension = int(self._model.config.hidden_size)
        self.identity = _identity(source)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), dimension), each row of length 1. Equal texts are computed once."""
        unique = sorted(set(texts), key=lambda text: (len(text), text))
        vectors = np.zeros((len(unique), self.dimension), dtype=np.float32)
        for start in range(0, len(unique), BATCH):
            vectors[start : start + BATCH] = self._batch(unique[start : start + BATCH])
        place = {text: row for row, text in enumerate(unique)}
        return vectors[[place[text] for text in texts]] if len(texts) else vectors

    def _batch(self, texts: list[str]) -> np.ndarray:
        cut = [text[:MAX_CHARACTERS] for text in texts]
        tokens = self._tokenizer(
            cut, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        hidden = self._model(**tokens).last_hidden_state  # (batch, tokens, dimension)
        mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1).numpy()


def _identity(source: str) -> str:
    """What tells two models apart on one machine: a folder's files, or the hub's name."""
    stats = {path.name: path.stat() for path in Path(source).glob("*") if path.is_file()}
    return digest_of([source, {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}])
