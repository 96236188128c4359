"""Who judges answers to harmful prompts: the packaged judges, which read English, or what a profile names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Protocol

from pipelines.core.config import Config
from pipelines.data.embedder import Embedder, weight_digests
from pipelines.data.languages import language_of
from pipelines.evaluation.quality import Quality
from pipelines.evaluation.refusals import RefusalHead
from pipelines.evaluation.scored_judge import ScoredJudge
from pipelines.evaluation.toxicity import ToxicityHead, kept_head
from pipelines.policy.night.harm import Judged

KNOWN = frozenset({"en"})


class Judge(Protocol):
    """`languages`: those that it reads. `remark`: what else people should know of it, "" nothing."""

    @property
    def languages(self) -> frozenset[str]: ...

    @property
    def qualities(self) -> tuple[Quality, Quality]:
        """How well it knows insults, and answers that help with harm, on texts that it did not learn from."""

    @property
    def remark(self) -> str: ...

    def judge(self, answers: Sequence[str], tokens: Sequence[int], most_tokens: int) -> list[Judged]:
        """What it says of each answer. One of `most_tokens` tokens may go on."""


@dataclass(frozen=True)
class SafetyJudge:
    """The packaged judges, of insults and of refusals, on one embedder."""

    embedder: Embedder
    toxicity: ToxicityHead
    refusals: RefusalHead
    languages: frozenset[str] = KNOWN
    remark: str = ""

    @classmethod
    def of(cls, config: Config) -> SafetyJudge:
        """The judges of a configuration. Equal seeds give equal ones."""
        embedder = Embedder(config.model.embedder, config.model.threads)
        return cls(embedder, kept_head(config, embedder), RefusalHead(embedder, config.safety.confidence))

    @property
    def qualities(self) -> tuple[Quality, Quality]:
        return self.toxicity.quality, self.refusals.quality

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


def judge_of(config: Config) -> Judge:
    """Who judges in a profile. Raises what `moderation` and `harm_classifier` raise."""
    settings, proof = config.safety, (config.seed, config.safety.confidence)
    if settings.moderation.url:
        from pipelines.evaluation.moderation import ModerationEndpoint

        endpoint = ModerationEndpoint(settings.moderation)
        return ScoredJudge(endpoint.scores, settings.moderation.languages, *proof)
    if settings.classifier.model:
        from pipelines.evaluation.harm_classifier import ClassifierModel

        model = ClassifierModel(settings.classifier, config.path(settings.classifier.model))
        return ScoredJudge(model.scores, settings.classifier.languages, *proof)
    return SafetyJudge.of(config)


def judge_digests(config: Config) -> dict[str, str]:
    """Name -> digest of the files that a judge is made of; a hub id or an address names what it is."""
    if config.safety.moderation.url:
        return {}
    if model := config.safety.classifier.model:
        files = weight_digests(config.path(model), "*.*")  # its labels stand beside its weights
        return {f"classifier:{name}": of for name, of in files.items()}
    return {f"embedder:{name}": of for name, of in weight_digests(config.model.embedder).items()}


def unread(answers: Sequence[Judged], known: Set[str]) -> Counter[str]:
    """How many answers are in languages that the judges do not know, by language."""
    return Counter(one.language for one in answers if one.language and one.language not in known)
