"""From feedback to an adapter: decide, curate, train."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from pipelines.core.config.base import Amount, Count, OpenShareOrOne, Positive, PositiveFloat, Section, Share

Objective = Literal["sft", "kto", "dpo"]  # what a training minimises
Language = Literal["en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "fi", "tr", "ko", "th"]


class Decide(Section):
    """`[decide]`: whether tonight's data are worth a training."""

    force: bool = False  # train even if nothing calls for it
    cause: str = "schedule"  # schedule | manual | alert:<name>
    ruling: str = ""  # the ledger's ruling that asked for this night
    min_corrections: Count = 120  # enough new labelled rows to be worth training
    min_corrections_on_drift: Count = 40  # the same, on a night that drifted
    cool_down_nights: Count = 0  # no training for so many nights after one
    budget_cpu_hours_30d: Amount = 50.0  # CPU hours of the last 30 days; used up: the night is held
    budget_gpu_hours_30d: Amount = 20.0  # the same, GPU hours


class Curate(Section):
    """`[curate]`: from corrected and liked answers to a clean training set."""

    max_examples: Positive = 300  # size of the training set, replay included
    min_examples: Positive = 16  # fewer new ones are not worth a training; the night ends in a skip
    dev_share: Share = 0.1  # of the examples, kept from training to watch the loss
    replay_share: Share = 0.3  # of the training set, from earlier nights
    holdout_share: Share = 0.1  # of labelled rows kept back as the night's suite
    # Share of people whose rows are never trained on, once 10 people gave some: a candidate does not know
    # them, so their rows can tell whether it is better (gate.max_nights_waiting). 0: nobody. With a pool
    # (evaluate.pool) the rows of all people that come after the training count besides.
    people_kept_back: Share = 0.0
    # Labelled rows of one person that count for a training, at most, once 10 people gave some.
    rows_per_person: Positive = 30
    max_tenant_share: OpenShareOrOne = 0.8  # of these rows, once two tenants have traffic; 1 is no limit
    near_duplicate_similarity: Share = 0.95  # cosine of two prompts from which one is left out
    redact_entities: tuple[str, ...] = (  # what is replaced; NATIONAL_ID: identity numbers of many countries
        "PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN", "IBAN_CODE", "IP_ADDRESS",
        "STREET_ADDRESS", "DATE_OF_BIRTH", "RECORD_NUMBER", "NATIONAL_ID",
    )  # fmt: skip
    redact_languages: tuple[Language, ...] = (  # whose names, words and countries' numbers are known
        "en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "fi", "tr", "ko", "th",
    )  # fmt: skip
    redact_score: Share = 0.6  # Presidio's least confidence
    canary_strings: Count = 16  # planted secrets; safety measures whether the candidate gives them out


class Train(Section):
    """`[train]`: the LoRA adapter and how it is trained."""

    method: Literal["fresh", "continue"] = "continue"  # without a production adapter both start fresh
    # sft: corrections and liked answers. kto: liked and disliked answers. dpo: corrections against the
    # answers that they corrected. auto: kto where dislikes are most of the feedback, else sft.
    objective: Objective | Literal["auto"] = "sft"
    on: Literal["last", "all"] = (
        "last"  # assistant turns that are learned: the rated one, or earlier ones too
    )
    beta: PositiveFloat = 0.1  # of kto and dpo: larger values stay closer to the adapter that one starts from
    rank: Positive = 16  # of the LoRA matrices; where production's differs, a fresh adapter is trained
    alpha: Positive = 32  # LoRA's scale is alpha / rank
    dropout: Share = 0.0  # before the LoRA matrices
    target_modules: str = "all-linear"  # the layers that get LoRA matrices, as PEFT names them
    learning_rate: PositiveFloat = 1e-3  # at the end of the warm-up; then it falls linearly
    epochs: Positive = 2  # passes over the training set
    batch_size: Positive = 8  # examples in one forward pass
    gradient_accumulation: Positive = (
        1  # forward passes in one step of the optimizer; each token of them counts the same
    )
    warmup_share: Share = 0.1  # of the steps
    max_length_tokens: Positive = 320  # prompt and answer; longer examples are left out and counted
    packing: bool = False  # a batch's examples in one sequence without padding; none sees another
    save_every_steps: Positive = 20  # without dev examples; with them, each evaluation saves
    eval_every_steps: Positive = 20  # on the dev examples
    early_stopping_patience: Positive = 3  # evaluations without a lower loss that end the training
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the base's weights while training
    gradient_checkpointing: bool = (
        False  # compute activations again instead of keeping them: slower, less memory
    )
    liger: bool = False  # Liger's kernels; they need a GPU and the package liger-kernel

    @model_validator(mode="after")
    def _preferences_can_be_trained(self) -> Train:
        if self.objective == "sft":
            return self
        said = f'train.objective is "{self.objective}"'
        if self.packing:
            raise ValueError(
                f"{said}, and train.packing is true: only sft can pack examples. Set train.packing to false"
            )
        if self.on == "all":
            raise ValueError(
                f'{said}, and train.on is "all": people rated the last answer alone. Set train.on to "last"'
            )
        if self.batch_size == 1 and self.objective != "dpo":
            raise ValueError(
                f"{said}, and train.batch_size is 1: kto compares the answers of a batch with each other. "
                "Set train.batch_size to 2 or more"
            )
        return self
