"""What the guards show of two models: forgetting, instructions followed, and the candidate and an anchor."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipelines.core.facts import common
from pipelines.core.facts.evaluate import AnchorFacts, Disliked, Forgetting, Instructions, LeftOut
from pipelines.evaluation import scores
from pipelines.evaluation.comparing import Comparing
from pipelines.evaluation.guards import Guards, GuardScores
from pipelines.evaluation.scores import Answers, Scores
from pipelines.models.pair import CANDIDATE, PRODUCTION
from pipelines.policy.night.influence import left_out

NOTHING_KNOWN = common.Comparison(
    n=0, production=0.0, candidate=0.0, difference=common.Interval(value=0.0, low=-1.0, high=1.0)
)


def forgetting(comparing: Comparing, given: Answers, asked: Guards) -> Forgetting | None:
    """On kept-back rows of earlier nights. None without any."""
    if not asked.earlier:
        return None
    told = scores.told(given, asked.earlier, asked.task)
    known = [place for place, one in enumerate(told) if one.is_known]
    right = {
        name: scores.right(
            [answers[place] for place in known], [asked.earlier[place] for place in known], asked.task
        )
        for name, answers in given.items()
    }
    return Forgetting(
        **dict(comparing.comparison(right) if known else NOTHING_KNOWN),
        paired=scores.paired_counts(right),
        disliked=Disliked(**Counter(one.outcome for one in told if not one.is_known)),
    )


def instructions(comparing: Comparing, followed: Scores) -> Instructions | None:
    """None where no instruction was asked."""
    if not len(followed[CANDIDATE]):
        return None
    return Instructions(**dict(comparing.comparison(followed)), paired=scores.paired_counts(followed))


def left_out_of(comparing: Comparing, given: Answers, asked: Guards) -> tuple[LeftOut, ...]:
    """Forgetting without those on whom it rests most."""
    told = scores.told(given, asked.earlier, asked.task)
    return left_out(told, np.random.default_rng(comparing.seed)) if told else ()


def against(
    comparing: Comparing,
    anchor: common.Baseline,
    its: GuardScores,
    candidate: GuardScores,
    asked: Guards,
) -> AnchorFacts:
    """The candidate compared with an anchor, which takes production's place."""
    return AnchorFacts(
        name=anchor.name,
        digest=anchor.digest,
        general=comparing.comparison({PRODUCTION: its.belief, CANDIDATE: candidate.belief}),
        perplexity=scores.ratio({PRODUCTION: its.perplexity, CANDIDATE: candidate.perplexity}),
        forgetting=forgetting(comparing, {PRODUCTION: its.answers, CANDIDATE: candidate.answers}, asked),
        instructions=instructions(comparing, {PRODUCTION: its.followed, CANDIDATE: candidate.followed}),
    )
