"""The sequential tests of a rollout: what may abort it, and what must be shown before it goes on. Pure.

Every test is an e-process (`policy.stats.sequential`) over answers in order of arrival. A test that has once
reached its bar stays there, so looking often costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipelines.core.config import Promote, Stage
from pipelines.policy.rollout.observations import Observations, allowed_rise, guard_flags
from pipelines.policy.stats.sequential import in_blocks, log_evidence, log_evidence_of_losing

MOST_PER_BLOCK = 3  # of production's answers: more would add little
WORSE_IN_THE_SHADOW = (
    "The candidate is right less often than production, even if it is right wherever a user disliked another "
    "answer and told none."
)


@dataclass(frozen=True)
class SequentialTest:
    """The most evidence (log) that one test has ever had, and the bar (log) that it must reach."""

    log_evidence: float
    bar: float
    words: str

    @property
    def reached(self) -> bool:
        return self.log_evidence >= self.bar


def block_size(stage: Stage, rules: Promote) -> int:
    """How many of production's answers stand beside one of the candidate's; equal in all canary stages."""
    weight = rules.stages[-1].weight if stage.weight else 0.5  # a shadow answers what production answers
    return max(1, min(MOST_PER_BLOCK, int((1 - weight) / weight)))


def abort_bar(rules: Promote) -> float:
    """The bar (log) of a test that aborts: all such tests of a rollout share `alpha_abort` equally.

    The canary stages share their tests, which go on from stage to stage.
    """
    canary = {guard for stage in rules.stages[1:] for guard in stage.guards}
    tests = len(rules.stages[0].guards) + len(canary) + 2  # and pairs in the shadow, feedback in the canary
    return float(np.log(tests / rules.alpha_abort))


def least_win_share(odds: float) -> float:
    """The least share of won pairs among those rated, of a candidate that wins half of all that are not ties.

    A lost pair may be rated `odds` times as often as a won one.
    """
    return 1 / (1 + odds)


def abort_tests(stage: Stage, rules: Promote, observed: Observations) -> dict[str, SequentialTest]:
    """The tests that may abort in a stage, by name. Each must reach its bar without any one tenant, too."""
    found = [_abort_tests(stage, rules, part) for part in (observed, *observed.without)]
    return {name: _least([tests[name] for tests in found]) for name in found[0]}


def _abort_tests(stage: Stage, rules: Promote, observed: Observations) -> dict[str, SequentialTest]:
    bar, size = abort_bar(rules), block_size(stage, rules)
    tests = {}
    if stage.weight == 0:
        won = np.array([pair.most > 0 for pair in observed.pairs], float)
        lost = np.array([pair.most < 0 for pair in observed.pairs], float)
        log = log_evidence_of_losing(won, lost, least_win_share(rules.rating_odds))
        tests["pairs"] = SequentialTest(_most(log), bar, WORSE_IN_THE_SHADOW)
    else:
        disliked = in_blocks(((side, not liked) for side, liked in observed.ratings), size)
        log = log_evidence(*disliked, size, 0.0, rules.stages[-1].margin)
        words = "Users like the candidate's answers less than production's."
        tests["feedback"] = SequentialTest(_most(log), bar, words)
    for guard, flags in guard_flags(stage, rules, observed).items():
        rise = allowed_rise(guard, rules)
        log = log_evidence(*in_blocks(flags, size), size, rise)
        words = f"{guard}: the candidate has more than production, by over {rise:.0%} of answers."
        tests[guard] = SequentialTest(_most(log), bar, words)
    return tests


def not_worse_test(stage: Stage, rules: Promote, observed: Observations) -> SequentialTest:
    """Evidence against "the candidate is worse than production by the stage's margin or more".

    It must reach its bar without any one tenant, too.
    """
    return _least([_not_worse_test(stage, rules, part) for part in (observed, *observed.without)])


def _not_worse_test(stage: Stage, rules: Promote, observed: Observations) -> SequentialTest:
    size = block_size(stage, rules)
    log = log_evidence(*in_blocks(observed.ratings, size), size, -stage.margin, expected=0.0)
    words = f"not yet shown to be less than {stage.margin:.0%} below production in liked answers"
    return SequentialTest(_most(log), float(np.log(1 / rules.alpha_promote)), words)


def _least(tests: Sequence[SequentialTest]) -> SequentialTest:
    """The first test, of all traffic, or one without a tenant if that has less evidence.

    A conjunction of tests errs no more often than the first of them.
    """
    least = min(tests, key=lambda test: test.log_evidence)
    if tests[0].reached and not least.reached:
        return replace(least, words=f"{least.words}, where one tenant is left out")
    return least


def _most(log: np.ndarray) -> float:
    """The most evidence that a test has ever had; 0 where nothing was observed."""
    return float(log.max(initial=0.0))
