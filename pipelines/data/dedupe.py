"""Near duplicates by sentence embedding, through SemHash with an exact index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from semhash import SemHash
from vicinity import Backend

from pipelines.data.embedder import Embedder


class NearDuplicates:
    """Texts whose embeddings have at least a given cosine similarity. Each text is embedded once."""

    def __init__(self, embedder: Embedder, similarity: float) -> None:
        self._embedder, self._similarity = embedder, similarity
        self._known: dict[str, np.ndarray] = {}

    def encode(self, inputs: Sequence[str], **_: Any) -> np.ndarray:
        """SemHash's encoder protocol: float32 (len(inputs), dimension)."""
        new = sorted(set(inputs) - self._known.keys())
        if new:
            self._known |= dict(zip(new, self._embedder.embed(new), strict=True))
        return np.stack([self._known[text] for text in inputs])

    def within(self, texts: Sequence[str]) -> list[int]:
        """Places of the texts to drop: each is near an earlier text that is kept."""
        if not texts:
            return []
        kept = self._index(texts).self_deduplicate(threshold=self._similarity).selected
        return sorted(set(range(len(texts))) - {record["place"] for record in kept})

    def matching(self, texts: Sequence[str], others: Sequence[str]) -> list[int]:
        """Places of the texts that are near any of `others`."""
        if not texts or not others:
            return []
        records = _records(texts)
        found = self._index(others).deduplicate(records, threshold=self._similarity).selected
        return sorted(set(range(len(texts))) - {record["place"] for record in found})

    def _index(self, texts: Sequence[str]) -> SemHash:
        return SemHash.from_records(
            _records(texts), columns=["text"], model=self, ann_backend=Backend.BASIC, metric="cosine"
        )


def _records(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"text": text, "place": place} for place, text in enumerate(texts)]
