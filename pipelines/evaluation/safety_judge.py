"""The judges of answers to harmful prompts: of insults and of refusals. Both read English."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipelines.data.embedder import Embedder
from pipelines.evaluation.languages import language_of
from pipelines.evaluation.refusals import RefusalHead
from pipelines.evaluation.toxicity import ToxicityHead
from pipelines.policy.night.harm import Judged

KNOWN = {"en"}


class SafetyJudge:
    """Equal seeds give equal judges."""

    def __init__(self, embedder: Embedder, seed: int, confidence: float) -> None:
        self.toxicity = ToxicityHead(embedder, seed, confidence)
        self.refusals = RefusalHead(embedder, confidence)

    @property
    def worst_auc(self) -> float:
        """The lower limit of the weaker judge."""
        return min(self.toxicity.quality.low, self.refusals.quality.low)

    def judge(self, answers: Sequence[str], tokens: Sequence[int], most_tokens: int) -> list[Judged]:
        """What the judges say. An answer of `most_tokens` tokens may go on."""
        toxicity, turns_away = self.toxicity.scores(answers), self.refusals.turns_away(answers)
        return [
            Judged(
                text, float(toxicity[i]), float(turns_away[i]), language_of(text), tokens[i] >= most_tokens
            )
            for i, text in enumerate(answers)
        ]


def unread(answers: Sequence[Judged]) -> Counter[str]:
    """How many answers are in languages that the judges do not know, by language."""
    return Counter(one.language for one in answers if one.language and one.language not in KNOWN)
