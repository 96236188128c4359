"""A model that classifies texts, by transformers: how likely it calls each of them harmful."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from pipelines.core.config import HarmClassifier
from pipelines.core.errors import ConfigError, InputError
from pipelines.data.embedder import PACKAGED, resolve

BATCH = 16  # windows in one pass
MOST_TOKENS = 512  # of a window; a model that takes fewer gets fewer
OVERLAP_TOKENS = 64  # of two windows, so that no sentence is only read in halves
MOST_CHARACTERS = 100_000  # of a text; no answer of a bounded number of tokens is longer


class ClassifierModel:
    """Scores texts by harm, on the CPU. A long text is read in windows, and the worst of them counts.

    Raises InputError where the model is not found, ConfigError where it has no such label.
    """

    def __init__(self, settings: HarmClassifier, folder: str) -> None:
        """`folder`: `settings.model` with its places filled in."""
        disable_progress_bar()
        self._tokenizer: Any = _fetched(AutoTokenizer, settings, folder)
        model = _fetched(AutoModelForSequenceClassification, settings, folder, dtype=torch.float32)
        self._model: Any = model.eval()
        self._threshold, config = settings.threshold, self._model.config
        self._harmful = _places(settings, config.id2label)
        self._is_one_of_many = config.num_labels > 1 and config.problem_type != "multi_label_classification"
        positions = getattr(config, "max_position_embeddings", None) or MOST_TOKENS
        self._window_tokens = min(self._tokenizer.model_max_length, positions, MOST_TOKENS)

    @torch.inference_mode()
    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) harm in [0, 1] of each text: 0.5 where the probability of a harmful label is the threshold."""
        found = np.zeros(len(texts))
        windows, owners = self._windows(texts)
        for start in range(0, len(windows), BATCH):
            batch = self._tokenizer.pad({"input_ids": windows[start : start + BATCH]}, return_tensors="pt")
            harm = self._harm(self._model(**batch).logits)
            np.maximum.at(found, owners[start : start + BATCH], harm)
        return _halved_at(found, self._threshold)

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], np.ndarray]:
        """The tokens of each window, and of which text each is."""
        if not texts:
            return [], np.zeros(0, dtype=int)
        made = self._tokenizer(
            [text[:MOST_CHARACTERS] for text in texts],
            truncation=True,
            max_length=self._window_tokens,
            stride=min(OVERLAP_TOKENS, self._window_tokens // 4),
            return_overflowing_tokens=True,
        )
        return made["input_ids"], np.array(made["overflow_to_sample_mapping"])

    def _harm(self, logits: torch.Tensor) -> np.ndarray:
        """(windows,) the probability that a harmful label is right. `logits`: (windows, labels)."""
        if self._is_one_of_many:
            found = logits.softmax(-1)[:, self._harmful].sum(-1)
        else:  # each label may be right beside the others
            found = logits.sigmoid()[:, self._harmful].max(-1).values
        return found.double().clamp(0, 1).numpy()


def check_labels(settings: HarmClassifier, folder: str) -> None:
    """Raises what the model would raise, without reading its weights."""
    _places(settings, _fetched(AutoConfig, settings, folder).id2label)


def _fetched(kind: Any, settings: HarmClassifier, folder: str, **more: Any) -> Any:
    """A part of the model, from its folder or its hub."""
    source = resolve(folder) if folder.startswith(PACKAGED) else folder
    if settings.revision:
        more["revision"] = settings.revision
    try:
        return kind.from_pretrained(source, **more)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"The classifier {settings.model} cannot be loaded ({said}).",
            "Correct safety.classifier.model and safety.classifier.revision.",
        ) from None


def _places(settings: HarmClassifier, names: dict[int, str]) -> list[int]:
    place = {name: number for number, name in names.items()}
    if unknown := [name for name in settings.harmful_labels if name not in place]:
        raise ConfigError(
            f"The classifier {settings.model} has no label {unknown[0]!r}; it has {', '.join(place)}.",
            "Name those that mean harm in safety.classifier.harmful_labels.",
        )
    return [place[name] for name in settings.harmful_labels]


def _halved_at(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Scores in [0, 1], stretched so that the threshold is at 0.5."""
    below, above = scores / threshold / 2, 0.5 + (scores - threshold) / (1 - threshold) / 2
    return np.where(scores < threshold, below, above)
