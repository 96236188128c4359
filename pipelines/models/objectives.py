"""What each objective trains on, and TRL's trainer for it. The reference is the adapter one starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
from peft.tuners.tuners_utils import BaseTunerLayer
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from pipelines.core.config.training import Objective, Train
from pipelines.core.errors import TrainingError
from pipelines.models.examples import Row, dataset, tokenized
from pipelines.models.preference_examples import pairs, rated, with_mismatched
from pipelines.models.rendering import Rendering
from pipelines.policy.night.preferences import kto_weights

# DPO alone may make both answers less likely. The loss of the better answer beside it keeps that one likely
# (Pang et al., Iterative Reasoning Preference Optimization, arXiv:2404.19733, with their weight of 1).
DPO_LOSSES = {"sigmoid": 1.0, "sft": 1.0}


class _AsRendered:
    """The data hold tokens already, those that are served. TRL would make them again by the chat template."""

    def _prepare_dataset(self, data: datasets.Dataset, *_: Any, **__: Any) -> datasets.Dataset:
        return data


class RatedTrainer(_AsRendered, KTOTrainer):  # type: ignore[misc]
    pass


class PairTrainer(_AsRendered, DPOTrainer):  # type: ignore[misc]
    pass


def examples_of(
    objective: Objective, rows: Sequence[Row], rendering: Rendering, most: int
) -> datasets.Dataset:
    """The rows as tokens, one a row. Raises InputError for a row of more than `most` tokens."""
    if objective == "kto":
        return rated(rows, rendering, most)
    if objective == "dpo":
        return pairs(rows, rendering, most)
    return dataset(tokenized(rows, rendering, most))


def in_batches(objective: Objective, data: datasets.Dataset, batch_size: int) -> datasets.Dataset:
    """The data in their final order, with what an objective takes from a batch."""
    return with_mismatched(data, batch_size) if objective == "kto" else data


def trainer_of(
    objective: Objective, shared: dict[str, Any], settings: Train, rows: Sequence[Row], **given: Any
) -> Any:
    """TRL's trainer. `shared`: the arguments that do not depend on the objective. `rows`: to train on.

    Raises TrainingError for kto and dpo with an adapter on the output layer.
    """
    if objective != "sft" and isinstance(given["model"].get_output_embeddings(), BaseTunerLayer):
        raise TrainingError(
            f"train.target_modules names the output layer, which {objective} reads without its adapter.",
            "Leave it out; all-linear does.",
        )
    if objective == "kto":
        liked = sum(row["liked"] for row in rows)
        desirable, undesirable = kto_weights(liked, len(rows) - liked)
        weights: dict[str, Any] = {"desirable_weight": desirable, "undesirable_weight": undesirable}
        return RatedTrainer(args=KTOConfig(**shared, **weights, beta=settings.beta), **given)
    if objective == "dpo":
        losses: dict[str, Any] = {"loss_type": [*DPO_LOSSES], "loss_weights": [*DPO_LOSSES.values()]}
        return PairTrainer(args=DPOConfig(**shared, **losses, beta=settings.beta), **given)
    return SFTTrainer(args=SFTConfig(**shared, padding_free=settings.packing), **given)
