"""The safety step's toxicity head, trained once a home and kept as numbers: a look trains nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.files import sha256_of
from pipelines.data.embedder import Embedder
from pipelines.evaluation import safety_data


@dataclass(frozen=True)
class Head:
    """`weights`: coefficients, then the intercept. `auc_low`: lower limit of its held-out AUC."""

    weights: np.ndarray
    auc_low: float
    min_auc: float

    def scores(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray | None:
        """(n,) in [0, 1] of embedded texts, nothing said is 0; None when the head is too weak to judge."""
        if self.auc_low < self.min_auc:
            return None
        said = np.array([bool(text.strip()) for text in texts])
        return said / (1 + np.exp(-(vectors @ self.weights[:-1] + self.weights[-1])))


def load_head(config: Config, embedder: Embedder) -> Head:
    """The head of this embedder, these packaged texts and this seed; trained when there is none (10 s)."""
    data = {name: sha256_of(Path(path)) for name, path in safety_data.files().items()}
    identity = digest_of([config.model.embedder, config.seed, config.safety.confidence, data])
    file = Path(config.home) / "watch" / f"toxicity-{identity[:16]}.npz"
    if not file.exists():
        from pipelines.evaluation.toxicity import ToxicityHead

        head = ToxicityHead(embedder, config.seed, config.safety.confidence)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as partial:
            np.savez(partial, weights=head.weights, auc_low=head.quality.low)
        os.replace(partial.name, file)
    kept = np.load(file)
    return Head(kept["weights"], float(kept["auc_low"]), config.safety.min_classifier_auc)
