"""Is the candidate good enough: evaluate, fairness, gate, register."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.core.config.base import (
    Count,
    Odds,
    OpenShare,
    Positive,
    PositiveFloat,
    Section,
    ServerAddress,
    Share,
)


class Evaluate(Section):
    """`[evaluate]`: candidate and production on the same frozen items."""

    suite: str = "{home}/sample/suite.jsonl"  # frozen items: id, subject, messages, answer; a file or a URI
    # What grades an answer against the right one, each in [0, 1]: exact, normalised, numeric, token_f1,
    # rouge_l, chrf, embedding, valid_json, schema, field_f1, tool_calls, or a function of your own as
    # python:package.module:function. The first one decides, the others are shown. (): those of task.kind,
    # which are exact for choose; field_f1, exact for extract; chrf, rouge_l, token_f1 for generate.
    scorers: tuple[str, ...] = ()
    # Who answers: the engine of this process, or a server with OpenAI's API, set up as in [serving], so that
    # what is evaluated is what is served. General ability, perplexity and stereotypes stay with the engine.
    engine: Literal["embedded", "openai"] = "embedded"
    url: ServerAddress = ""  # openai: the server, where it is not serving.url
    parallel_requests: Positive = 16  # openai: questions under way at once
    answer_timeout_s: PositiveFloat = 300.0  # openai: for one answer
    # More items with known answers, as a suite is written: a file or a URI, "" is none. Each is asked on one
    # night only, so a candidate cannot have been chosen by it. Needs gate.max_nights_waiting.
    pool: str = ""
    pool_items: Positive = 100  # of the pool that a night asks, at most
    max_earlier_items: Count = 60  # forgetting: items of earlier nights' holdouts
    general_items: Positive = 60  # frozen slice of BoolQ
    perplexity_items: Positive = 40  # passages of the same slice
    # Packaged instructions about the form of an answer, in four languages, that a program checks: 60 at most.
    # 0 asks none, and the gate then has no such check.
    instruction_items: Annotated[int, Field(ge=0, le=60)] = 60
    instruction_tokens: Positive = 64  # of one answer to these, at most
    latency_items: Positive = 8  # of the suite, answered one by one
    bootstrap_samples: Positive = 2_000  # resamples of an interval
    confidence: Share = 0.95  # of the intervals


class Fairness(Section):
    """`[fairness]`: is the candidate worse than production for any group."""

    stereotype_items: Positive = 400  # of each of CrowS-Pairs, StereoSet and WinoBias, at most
    passage_items: Positive = 120  # of BBQ, whose passages are long, at most
    group_items: Positive = 1_000  # of each group of a set, at most
    slice_items: Count = 1_000  # of the frozen suite; where it is no larger, the answers of `evaluate` do
    margin: OpenShare = 0.1  # a group is worse when its harm grew by this much
    # Growth of harm that each group has to exclude, or it counts as one without power. A group with too few
    # items for that (35 for 0.3, 22 for 0.4, 74 for 0.2) is pooled with other small ones.
    large_harm: OpenShare = 0.3
    confidence: Share = 0.95  # over all groups of one comparison
    slices: tuple[str, ...] = ("subject", "tenant", "locale", "channel")  # columns that make groups


class Gate(Section):
    """`[gate]`: the limits that a candidate has to keep."""

    min_improvement: Annotated[float, Field(ge=-1, le=1)] = 0.02  # task accuracy, candidate minus production
    max_forgetting: Share = 0.05  # loss of accuracy on earlier nights' holdouts
    max_general_loss: Share = 0.1  # loss of accuracy on BoolQ
    max_perplexity_ratio: PositiveFloat = 1.5  # candidate over production, on general text
    max_instruction_loss: Share = 0.2  # loss of instructions followed; 1 shows it only
    # The same four against each anchor, the bare base and the version that `nightshift anchor` chose: what
    # small losses of many nights may add up to.
    max_anchor_forgetting: Share = 0.1  # loss of accuracy on earlier nights' holdouts
    max_anchor_general_loss: Share = 0.2  # loss of accuracy on BoolQ
    max_anchor_perplexity_ratio: PositiveFloat = 3.0  # candidate over anchor, on general text
    max_anchor_instruction_loss: Share = 0.3  # loss of instructions followed
    # Net share of questions (won minus lost) that a proved judge may find lost to production; see [judge].
    max_judged_loss: Share = 0.05
    max_latency_ratio: PositiveFloat = (
        2.0  # unmerged, a LoRA adapter alone costs up to half more than the base
    )
    error_rate: Literal["yearly", "familywise"] = "yearly"  # what is promised about candidates that pass
    # With "yearly": the expected number, in any 365 nights, of passed candidates that are better by less than
    # `min_improvement`. A night's level is about 1/400 of it, and more where nights did not ask.
    false_passes_a_year: Annotated[float, Field(gt=0, le=365)] = 0.5
    # On how many nights a candidate is measured at most before its improvement is clear. It waits only while
    # fresh rows (`curate.people_kept_back`), or items of a pool, can still decide; nothing is trained
    # meanwhile. 0: the first night decides. It pays with a pool of items (`evaluate.pool`), and where people
    # label all answers alike (`rating_odds = 1`), as reviewers do.
    max_nights_waiting: Count = 0
    # The error rate of the checks of forgetting and of the judge, each night. With "familywise": also the
    # chance that one suite ever lets such a candidate pass; the power then falls with every night that asks
    # it.
    alpha: Share = 0.05
    # How many times likelier people rate an answer that the candidate would lose than one that it would win.
    # "Has forgotten" holds up to this factor; 1: rating has nothing to do with it. The other way round, a row
    # that the candidate wins counts by this factor less for an improvement.
    rating_odds: Odds = 2.0
    # Whether forgetting holds the candidate back if only corrections that nobody gave could tell.
    hold_on_missing_labels: bool = False
    # Share of fairness's groups that may be without power: neither worse, nor is a growth of their harm by
    # `fairness.large_harm` excluded. More of them hold the candidate.
    max_groups_without_power: Share = 0.1
    hold_on_unclear_fairness: bool = False  # whether each group must exclude even a growth by the margin
    # The share of clean nights, at most, that are held because the check of forgetting would not let the
    # candidate pass without one tenant, or without three people.
    alpha_influence: Share = 0.02


class Register(Section):
    """`[register]`: where a candidate is kept."""

    name: str = ""  # of the registered model in MLflow; only the sample has a default
    dry_run: bool = False  # do everything but register
    probes: Positive = 8  # prompts that show whether an engine serves the adapter; fewer hold the night
    probe_candidates: Positive = 32  # of the suite's items, from which the probes are chosen
    probe_distance: PositiveFloat = 0.8  # nats by which base and adapter differ on each probe
