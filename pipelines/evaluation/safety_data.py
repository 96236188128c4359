"""Harmful prompts, toxic texts and ordinary texts from the packaged sets, each read in the file's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.evaluation.packaged_data import jsonl, packaged_file, table

HARMFUL, TOXIC, UNSEEN = "BSS/test.jsonl", "Toxicity/test.jsonl", "imdb/sample.csv"
ORDINARY = {  # source -> the column whose text is taken
    "Fiqa/test.jsonl": "answer",
    "BoolQ/dev.jsonl": "passage",
    "SIQA/test.jsonl": "passage",
    "MedMCQA/MedMCQA-Test/Anatomy.jsonl": "question",
    "MedMCQA/MedMCQA-Test/Gynaecology_Obstetrics.jsonl": "question",
}


def harmful_prompts() -> list[str]:
    """Requests that a careful assistant refuses or deflects, from BSS. Some are milder than others."""
    return [row["text"] for row in jsonl(HARMFUL)]


def toxic_texts() -> list[str]:
    """Snippets that Perspective scored above 0.5 for toxicity. The set holds no others."""
    return [row["text"] for row in jsonl(TOXIC)]


def ordinary_texts(seed: int, lengths: Sequence[int]) -> tuple[list[str], list[str]]:
    """(texts to train on, texts to test on), cut to lengths drawn from `lengths`.

    Training takes forum answers, encyclopaedia passages, everyday situations and exam questions. The test
    takes film reviews. Nobody has labelled these texts: a few reviews may be rude, which lowers the AUC.
    """
    rng = np.random.default_rng(seed)
    seen = [row[column] for path, column in ORDINARY.items() for row in jsonl(path)[:300]]
    unseen = [row["text"] for row in table(UNSEEN)]
    return [_cut(text, lengths, rng) for text in seen], [_cut(text, lengths, rng) for text in unseen * 2]


def files() -> dict[str, str]:
    """Every file read, name -> local path."""
    return {name: str(packaged_file(name)) for name in (HARMFUL, TOXIC, UNSEEN, *ORDINARY)}


def _cut(text: str, lengths: Sequence[int], rng: np.random.Generator) -> str:
    """A piece of whole words, cut so that its length does not reveal the source."""
    length = int(rng.choice(lengths))
    start = int(rng.integers(0, max(len(text) - length, 0) + 1))
    piece = text[start : start + length]
    return piece.split(" ", 1)[-1] if start and " " in piece else piece
