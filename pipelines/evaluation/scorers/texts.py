"""Scores of whole texts: equal, nearly equal, alike by characters, alike by meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import CHRF

from pipelines.core.config import Model
from pipelines.core.json_texts import NotJson, json_of, same_value
from pipelines.core.spelling import answer_form
from pipelines.data.embedder import Embedder
from pipelines.evaluation.scorers.common import Scorer

_CHRF = CHRF()  # sacreBLEU's defaults: chrF2, 6 characters, no words


def exact(answer: str, reference: str) -> float:
    """1 for equal texts. The space around them, and in JSON objects and lists the space inside, is free."""
    if answer.strip() == reference.strip():
        return 1.0
    try:
        found, wanted = json_of(answer), json_of(reference)
    except NotJson:
        return 0.0
    return float(isinstance(wanted, dict | list) and same_value(found, wanted))


def normalised(answer: str, reference: str) -> float:
    """1 for texts that differ only in case, spacing, Unicode form or outer punctuation."""
    found, wanted = answer_form(answer), answer_form(reference)
    return float(found == wanted if found or wanted else answer.strip() == reference.strip())


def chrf(answer: str, reference: str) -> float:
    """chrF2 of sacreBLEU (Popović 2015): n-grams of up to 6 characters, recall weighs twice."""
    if answer.strip() == reference.strip():
        return 1.0
    return min(1.0, _CHRF.sentence_score(answer, [reference]).score / 100)


def embedding_scorer(model: Model) -> Scorer:
    """The cosine of the two texts' embeddings, 0 where it is below. The model is read on the first call."""
    loaded: list[Embedder] = []

    def score(answers: Sequence[str], references: Sequence[str]) -> np.ndarray:
        if len(answers) != len(references):
            raise ValueError(f"{len(answers)} answers for {len(references)} references")
        if not loaded:
            loaded.append(Embedder(model.embedder, model.threads))
        texts = [_whole_characters(text) for text in (*answers, *references)]
        vectors = loaded[0].embed(texts).astype(float)
        cosines = (vectors[: len(answers)] * vectors[len(answers) :]).sum(axis=1)
        return cosines.clip(0, 1)

    return score


def _whole_characters(text: str) -> str:
    """The tokenizer takes no lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")
