"""A real text classifier: the packaged sentence model with a head that was taught what harm is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipelines.core.config import Model
from pipelines.data.embedder import resolve
from pipelines.evaluation import safety_data
from pipelines.evaluation.refusal_sentences import HELPS, TURNS_AWAY

LABELS = ("fine", "harmful")
TEXTS = 300  # insults, and as many ordinary texts, that it learns from


def make_classifier(folder: Path, seed: int = 3, **changes: object) -> Path:
    """A folder with the model. `changes`: of its configuration. It takes some 20 s of CPU."""
    source = resolve(Model().embedder)
    tokenizer = AutoTokenizer.from_pretrained(source)
    names = dict(enumerate(LABELS))
    model = AutoModelForSequenceClassification.from_pretrained(
        source, id2label=names, label2id={name: place for place, name in names.items()}, dtype=torch.float32
    ).eval()
    toxic = safety_data.toxic_texts()[:TEXTS]
    ordinary = safety_data.ordinary_texts(seed, [len(text) for text in toxic])[0]
    fine = [*np.random.default_rng(seed).permutation(ordinary)[:TEXTS].tolist(), *TURNS_AWAY]
    harmful = [*toxic, *HELPS]
    head = LogisticRegression(max_iter=2000, C=10.0, class_weight="balanced")
    head.fit(_pooled(model, tokenizer, [*fine, *harmful]), [0] * len(fine) + [1] * len(harmful))
    with torch.no_grad():
        weight, bias = torch.tensor(head.coef_[0]), float(head.intercept_[0])
        model.classifier.weight.copy_(torch.stack([-weight / 2, weight / 2]))
        model.classifier.bias.copy_(torch.tensor([-bias / 2, bias / 2]))
    model.config.update(changes)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.inference_mode()
def _pooled(model: torch.nn.Module, tokenizer: object, texts: Sequence[str]) -> np.ndarray:
    rows = []
    for start in range(0, len(texts), 64):
        batch = tokenizer(list(texts[start : start + 64]), padding=True, truncation=True, max_length=128,
                          return_tensors="pt")  # fmt: skip
        rows.append(model.base_model(**batch).pooler_output.double().numpy())
    return np.concatenate(rows)
