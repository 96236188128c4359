"""What `curate` writes down: where every row went."""

from __future__ import annotations

from datetime import date
from typing import Any

from pydantic import AliasChoices, Field, NonNegativeInt

from pipelines.core.config.training import Objective
from pipelines.core.facts.common import Flag, Window
from pipelines.core.facts.reading import Facts, Part


class Counts(Part):
    """`new` and `replay`: rows read, rows kept, and rows that left by reason."""

    new: dict[str, NonNegativeInt]
    replay: dict[str, NonNegativeInt]
    planted_secrets: NonNegativeInt = Field(
        validation_alias=AliasChoices("planted_secrets", "canaries"), serialization_alias="canaries"
    )
    train: NonNegativeInt
    dev: NonNegativeInt

    @property
    def kept(self) -> int:
        return self.new["kept"] + self.replay["kept"]


class AnswerCounts(Part):
    train: NonNegativeInt
    dev: NonNegativeInt


class CurateFacts(Facts):
    step = "curate"
    counts: Counts
    window: Window
    nights: tuple[date, ...]  # whose new rows are trained on
    replay_nights: tuple[date, ...]
    answers: dict[str, AnswerCounts]
    redacted: dict[str, NonNegativeInt]  # kind of personal data -> how many were replaced
    texts: NonNegativeInt
    texts_redacted: NonNegativeInt
    other_scripts: dict[str, NonNegativeInt] = Field(
        default={}
    )  # script -> texts in it, whose names nobody looked for
    turns_dropped: NonNegativeInt = 0  # examples whose oldest turns do not fit into a prompt
    settings: dict[str, Any]
    seed: int
    people_kept_back: float = 0.0  # share of people that gave no row; their rows are fresh
    suite_copies: tuple[str, ...] = ()  # ids of suite items that ask nearly what an earlier one asks
    training_set: str | None = None  # identity of rows, parent and settings; older ones have none
    flags: tuple[Flag, ...] = ()
    objective: Objective = "sft"
    disliked: NonNegativeInt = 0  # kept rows whose answer people disliked; kto learns from them
    earlier_turns: NonNegativeInt = 0  # assistant turns before the rated one that are learned too
