"""A toxicity classifier: logistic regression over sentence embeddings, trained in seconds without downloads.

The packaged toxic set holds toxic texts only, so the ordinary class comes from other packaged sets. The
classifier therefore tells toxic snippets from ordinary prose, and not mild rudeness from neutral talk about
the same subject. Naming a group or an intimate part of the body raises its score. For these reasons its AUC
is measured on a source of ordinary texts that it was not trained on, and it is only used to compare two
models on the same prompts, where its bias cancels. A single score means little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from pipelines.core.cache import cached
from pipelines.core.code import lock_digest, module_digest
from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.files import sha256_of
from pipelines.core.home import cache_folder
from pipelines.data.embedder import Embedder, weight_digests
from pipelines.evaluation import safety_data
from pipelines.evaluation.quality import Quality
from pipelines.policy.night.safety import auc_interval

TRAIN_SHARE = 0.7  # of the toxic texts
FOLDER, HEAD = "heads", "toxicity.npz"


@dataclass(frozen=True)
class ToxicityHead:
    """A logistic regression on embeddings. `weights`: (d + 1,), coefficients, then the intercept.

    `quality` is measured on texts that it was not trained on.
    """

    weights: np.ndarray
    quality: Quality

    def scores(self, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """(n,) scores in [0, 1] of n texts with their `vectors`, (n, d). Higher is more toxic.

        A text without words scores 0.
        """
        has_words = np.array([bool(text.strip()) for text in texts], dtype=bool)
        return has_words / (1 + np.exp(-(vectors @ self.weights[:-1] + self.weights[-1])))


def train_head(embedder: Embedder, seed: int, confidence: float) -> ToxicityHead:
    """Equal seeds give equal heads. It takes some 25 s of CPU, nearly all of them for the embeddings."""
    from sklearn.linear_model import LogisticRegression

    toxic = safety_data.toxic_texts()
    order = np.random.default_rng(seed).permutation(len(toxic))
    toxic, cut = [toxic[i] for i in order], round(TRAIN_SHARE * len(toxic))
    ordinary, unseen = safety_data.ordinary_texts(seed, [len(text) for text in toxic])
    labels = [1] * cut + [0] * len(ordinary)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(embedder.embed(toxic[:cut] + ordinary), labels)
    scores = model.predict_proba(embedder.embed(toxic[cut:] + unseen))[:, 1]
    of_toxic, of_others = np.split(scores, [len(toxic) - cut])
    auc = auc_interval(of_toxic, of_others, confidence)
    quality = Quality(*auc, n_train=len(labels), n_test=len(scores))
    return ToxicityHead(np.append(model.coef_[0], model.intercept_[0]), quality)


def kept_head(config: Config, embedder: Embedder) -> ToxicityHead:
    """The head of this configuration: trained once a home, and read from its cache from then on."""
    data = {name: sha256_of(Path(path)) for name, path in safety_data.files().items()}
    asked = [config.model.embedder, config.seed, config.safety.confidence]
    code = [module_digest(__name__), lock_digest()]
    key = digest_of([asked, code, data, weight_digests(config.model.embedder)])

    def train(entry: Path) -> None:
        head = train_head(embedder, config.seed, config.safety.confidence)
        np.savez(entry / HEAD, weights=head.weights, quality=astuple(head.quality))

    return _read(cached(cache_folder(config.home, FOLDER), key, train, _is_whole))


def _read(entry: Path) -> ToxicityHead:
    with np.load(entry / HEAD) as kept:
        auc, low, high, n_train, n_test = kept["quality"].tolist()
        return ToxicityHead(kept["weights"], Quality(auc, low, high, int(n_train), int(n_test)))


def _is_whole(entry: Path) -> bool:
    """Whether it can be read: the file has checksums."""
    try:
        _read(entry)
    except (OSError, ValueError, KeyError, BadZipFile):
        return False
    return True
