"""A real text classifier: the packaged sentence model, whose last layer was taught what harm is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pipelines.core.cache import cached
from pipelines.core.code import lock_digest
from pipelines.core.config import Model
from pipelines.core.contract import digest_of
from pipelines.core.files import sha256_of
from pipelines.core.home import private_folder
from pipelines.data.embedder import resolve
from pipelines.evaluation import safety_data
from pipelines.evaluation.refusal_sentences import HELPS, TURNS_AWAY
from tests.support.kept import KEPT

LABELS = ("fine", "harmful")
TEXTS, TOKENS, EPOCHS, BATCH = 250, 48, 2, 32


def make_classifier(folder: Path) -> Path:
    """A folder with the model. It is made once a checkout, in about a minute of CPU, and then copied."""
    key = digest_of([sha256_of(Path(__file__)), lock_digest()])
    made = cached(private_folder(KEPT / "classifiers"), key, _save, lambda _: True)
    return Path(shutil.copytree(made, folder, dirs_exist_ok=True))


def _save(folder: Path) -> None:
    source, names = resolve(Model().embedder), dict(enumerate(LABELS))
    torch.manual_seed(3)
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForSequenceClassification.from_pretrained(
        source, id2label=names, label2id={name: place for place, name in names.items()}, dtype=torch.float32
    )
    texts, labels = _texts()
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=TOKENS, return_tensors="pt")
    _teach(model, tokens.input_ids, tokens.attention_mask, torch.tensor(labels))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _texts() -> tuple[list[str], list[int]]:
    toxic = safety_data.toxic_texts()[:TEXTS]
    ordinary = safety_data.ordinary_texts(3, [len(text) for text in toxic])[0]
    fine = [*np.random.default_rng(3).permutation(ordinary)[:TEXTS].tolist(), *TURNS_AWAY]
    return [*toxic, *HELPS, *fine], [1] * (len(toxic) + len(HELPS)) + [0] * len(fine)


def _teach(model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> None:
    """The layers below the last one stay as they are, so each text goes through them once."""
    *lower, last = model.bert.encoder.layer
    model.bert.encoder.layer = torch.nn.ModuleList(lower)
    with torch.inference_mode():
        parts = zip(ids.split(64), mask.split(64), strict=True)
        below = torch.cat([model.bert(part, rows).last_hidden_state for part, rows in parts]).clone()
    model.bert.encoder.layer = torch.nn.ModuleList([*lower, last])
    below = below.detach().clone()
    bias = (1.0 - mask[:, None, None, :].float()) * -1e9
    taught = [*last.parameters(), *model.bert.pooler.parameters(), *model.classifier.parameters()]
    optimizer = torch.optim.AdamW(taught, lr=1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            hidden = last(below[rows], bias[rows])
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
            logits = model.classifier(model.bert.pooler(hidden))
            torch.nn.functional.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
