"""The safety step's toxicity head, trained once a home and kept as a file, so that a watch trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.files import replacing, sha256_of
from pipelines.data.embedder import Embedder
from pipelines.evaluation import safety_data


@dataclass(frozen=True)
class Head:
    """A logistic regression on embeddings. `weights`: (d + 1,), coefficients, then the intercept.

    `auc_low`: lower limit of its AUC on texts held out from training.
    """

    weights: np.ndarray
    auc_low: float
    min_auc: float

    def scores(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray | None:
        """Toxicity in [0, 1] of n texts, (n,), from their `vectors`, (n, d). An empty text has 0.

        None when the head is not accurate enough to use.
        """
        if self.auc_low < self.min_auc:
            return None
        has_text = np.array([bool(text.strip()) for text in texts])
        return has_text / (1 + np.exp(-(vectors @ self.weights[:-1] + self.weights[-1])))


def load_head(config: Config, embedder: Embedder) -> Head:
    """The head for this embedder, the packaged texts and this seed; trained (10 s) where there is none."""
    data = {name: sha256_of(Path(path)) for name, path in safety_data.files().items()}
    identity = digest_of([config.model.embedder, config.seed, config.safety.confidence, data])
    file = Path(config.home) / "watch" / f"toxicity-{identity[:16]}.npz"
    if not file.exists():
        from pipelines.evaluation.toxicity import ToxicityHead

        head = ToxicityHead(embedder, config.seed, config.safety.confidence)
        with replacing(file) as partial, partial.open("wb") as open_file:
            np.savez(open_file, weights=head.weights, auc_low=head.quality.low)
    kept = np.load(file)
    return Head(kept["weights"], float(kept["auc_low"]), config.safety.min_classifier_auc)
