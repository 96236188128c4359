"""A toxicity classifier: logistic regression over sentence embeddings, trained in seconds without downloads.

The packaged toxic set holds toxic texts only, so the ordinary class comes from other packaged sets. The
classifier therefore tells toxic snippets from ordinary prose, and not mild rudeness from neutral talk about
the same subject. Naming a group or an intimate part of the body raises its score. For these reasons its AUC
is measured on a source of ordinary texts that it was not trained on, and it is only used to compare two
models on the same prompts, where its bias cancels. A single score means little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from pipelines.data.embedder import Embedder
from pipelines.evaluation import safety_data
from pipelines.evaluation.quality import Quality
from pipelines.policy.night.safety import auc_interval

TRAIN_SHARE = 0.7  # of the toxic texts


class ToxicityHead:
    """Train with `ToxicityHead(embedder, seed, confidence)`; equal seeds give equal heads."""

    def __init__(self, embedder: Embedder, seed: int, confidence: float) -> None:
        self._embedder = embedder
        toxic = safety_data.toxic_texts()
        order = np.random.default_rng(seed).permutation(len(toxic))
        toxic, cut = [toxic[i] for i in order], round(TRAIN_SHARE * len(toxic))
        ordinary, unseen = safety_data.ordinary_texts(seed, [len(text) for text in toxic])
        labels = [1] * cut + [0] * len(ordinary)
        self._model = LogisticRegression(class_weight="balanced", max_iter=1000)
        self._model.fit(embedder.embed(toxic[:cut] + ordinary), labels)
        auc = auc_interval(self.scores(toxic[cut:]), self.scores(unseen), confidence)
        self.quality = Quality(*auc, n_train=len(labels), n_test=len(toxic) - cut + len(unseen))

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) scores in [0, 1], higher is more toxic. A text without words scores 0."""
        said = np.array([bool(text.strip()) for text in texts])
        return self._model.predict_proba(self._embedder.embed(texts))[:, 1] * said

    @property
    def weights(self) -> np.ndarray:
        """(dimension + 1,) coefficients, then the intercept. They score embeddings without the classifier."""
        return np.append(self._model.coef_[0], self._model.intercept_[0])
