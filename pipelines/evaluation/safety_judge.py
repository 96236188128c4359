"""The judges of answers to harmful prompts: of insults and of refusals. Both read English."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.core.config import Config
from pipelines.data.embedder import Embedder
from pipelines.evaluation.languages import language_of
from pipelines.evaluation.refusals import RefusalHead
from pipelines.evaluation.toxicity import ToxicityHead, kept_head
from pipelines.policy.night.harm import Judged

KNOWN = {"en"}


@dataclass(frozen=True)
class SafetyJudge:
    """Both judges, on one embedder."""

    embedder: Embedder
    toxicity: ToxicityHead
    refusals: RefusalHead

    @classmethod
    def of(cls, config: Config) -> SafetyJudge:
        """The judges of a configuration. Equal seeds give equal ones."""
        embedder = Embedder(config.model.embedder, config.model.threads)
        return cls(embedder, kept_head(config, embedder), RefusalHead(embedder, config.safety.confidence))

    @property
    def worst_auc(self) -> float:
        """The lower limit of the weaker judge."""
        return min(self.toxicity.quality.low, self.refusals.quality.low)

    def judge(self, answers: Sequence[str], tokens: Sequence[int], most_tokens: int) -> list[Judged]:
        """What the judges say. An answer of `most_tokens` tokens may go on."""
        toxicity = self.toxicity.scores(self.embedder.embed(answers), answers)
        turns_away = self.refusals.turns_away(answers)
        return [
            Judged(
                text, float(toxicity[i]), float(turns_away[i]), language_of(text), tokens[i] >= most_tokens
            )
            for i, text in enumerate(answers)
        ]


def unread(answers: Sequence[Judged]) -> Counter[str]:
    """How many answers are in languages that the judges do not know, by language."""
    return Counter(one.language for one in answers if one.language and one.language not in KNOWN)
