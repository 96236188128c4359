"""Near duplicates by sentence embedding: every pair is compared, in blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.core.conversations import Message, last_question, normalise, question_text
from pipelines.data.embedder import Embedder

WINDOW = 1_000  # characters of a piece, which the embedding model reads whole
MOST_PIECES = 8  # a longer text has exact duplicates only
BLOCK = 512  # conversations that are compared with all others at once
Pieces = tuple[str, ...]


def pieces_of(messages: Sequence[Message], system_prompt: str) -> Pieces:
    """The texts by which two conversations are compared, piece by piece; none for a very long one.

    They are the question, in windows, and in a longer talk the last turn too: talks about one long document
    that end in different questions are different.
    """
    question, last = _plain(question_text(messages, system_prompt)), _plain(last_question(messages))
    pieces = _windows(question) + (_windows(last) if last != question else ())
    return pieces if len(pieces) <= MOST_PIECES else ()


class NearDuplicates:
    """Conversations of which every piece has at least a given cosine similarity to the other's.

    Each piece is embedded once.
    """

    def __init__(self, embedder: Embedder, similarity: float) -> None:
        self._embedder, self._similarity = embedder, similarity
        self._known: dict[str, np.ndarray] = {}

    def within(self, asked: Sequence[Pieces]) -> list[int]:
        """Places of the conversations to drop: each is near an earlier one that is kept."""
        dropped: set[int] = set()
        for places in _by_size(asked).values():
            vectors = self._vectors([asked[place] for place in places])
            near = self._near(vectors, vectors)
            for row, place in enumerate(places):
                if any(places[other] not in dropped for other in near[row] if other < row):
                    dropped.add(place)
        return sorted(dropped)

    def matching(self, asked: Sequence[Pieces], others: Sequence[Pieces]) -> list[int]:
        """Places of the conversations that are near any of `others`."""
        found: list[int] = []
        known = _by_size(others)
        for size, places in _by_size(asked).items():
            if size in known:
                vectors = self._vectors([asked[place] for place in places])
                near = self._near(vectors, self._vectors([others[place] for place in known[size]]))
                found += [place for place, rows in zip(places, near, strict=True) if len(rows)]
        return sorted(found)

    def _vectors(self, asked: Sequence[Pieces]) -> np.ndarray:
        """(pieces, conversations, dimension) of conversations with equally many pieces."""
        new = sorted({piece for pieces in asked for piece in pieces} - self._known.keys())
        if new:
            self._known |= dict(zip(new, self._embedder.embed(new), strict=True))
        return np.stack([[self._known[piece] for piece in pieces] for pieces in zip(*asked, strict=True)])

    def _near(self, vectors: np.ndarray, others: np.ndarray) -> list[np.ndarray]:
        """For each conversation the places of the others that are near it."""
        near: list[np.ndarray] = []
        for start in range(0, vectors.shape[1], BLOCK):
            block = vectors[:, start : start + BLOCK]
            alike = (block @ others.transpose(0, 2, 1)).min(axis=0) >= self._similarity
            near += [np.flatnonzero(row) for row in alike]
        return near


def _plain(text: str) -> str:
    return normalise(text) or text.strip()


def _windows(text: str) -> Pieces:
    return tuple(text[start : start + WINDOW] for start in range(0, max(len(text), 1), WINDOW))


def _by_size(asked: Sequence[Pieces]) -> dict[int, list[int]]:
    """Places of the conversations by their number of pieces; those with none are left out."""
    found: dict[int, list[int]] = {}
    for place, pieces in enumerate(asked):
        if pieces:
            found.setdefault(len(pieces), []).append(place)
    return found
