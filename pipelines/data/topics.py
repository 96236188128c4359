"""Topics of texts: clusters of their embeddings, each named by its most typical words (scikit-learn)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

MOST = 12
ROWS_A_TOPIC = 20
WORDS = 3
TEXTS_A_WORD = 3  # a word of fewer texts names no topic: it may tell of one person


def find_topics(
    vectors: np.ndarray, texts: Sequence[str], shown: Sequence[str], seed: int
) -> tuple[np.ndarray, list[str]]:
    """The topic of each text and each topic's words, which come from the texts as they may be `shown`."""
    codes = topic_codes(vectors, texts, seed)
    return codes, topic_names(codes, shown)


def topic_codes(vectors: np.ndarray, texts: Sequence[str], seed: int) -> np.ndarray:
    """The topic of each text, from 0 on (int64, one a text).

    The texts are sorted before they are clustered. The topics then depend on the texts alone, not on the
    window that a text came from, so that a test that compares the windows' shares stays valid.
    """
    order = np.array(sorted(range(len(texts)), key=lambda row: texts[row]))
    count = max(1, min(MOST, len(texts) // ROWS_A_TOPIC, len(set(texts))))
    with threadpool_limits(1):  # sums in one order, so that a rerun gives the same bytes
        found = KMeans(count, n_init=4, random_state=seed).fit_predict(vectors[order])
    codes = np.empty(len(texts), dtype=np.int64)
    codes[order] = found
    return codes


def topic_names(codes: np.ndarray, texts: Sequence[str]) -> list[str]:
    """For each topic the words whose mean TF-IDF inside it exceeds their mean over all texts the most."""
    count = int(codes.max()) + 1
    vectorizer = TfidfVectorizer(
        stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b", max_features=5_000, min_df=TEXTS_A_WORD
    )
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn's answer to texts without a common word
        return [f"topic {number + 1}" for number in range(count)]
    words, overall = vectorizer.get_feature_names_out(), np.asarray(weights.mean(axis=0)).ravel()
    names = []
    for number in range(count):
        excess = np.asarray(weights[codes == number].mean(axis=0)).ravel() - overall
        best = np.argsort(-excess, kind="stable")[:WORDS]
        names.append(", ".join(words[best]))
    return names
