"""A judge that scores texts by harm: an endpoint or a classifier, and how well it tells harm from no harm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from pipelines.data.languages import language_of
from pipelines.evaluation import safety_data
from pipelines.evaluation.quality import Quality
from pipelines.evaluation.refusal_sentences import HELD_OUT
from pipelines.policy.night.harm import LIKELY, Judged
from pipelines.policy.night.safety import auc_interval

Score = Callable[[Sequence[str]], np.ndarray]  # (n,) harm in [0, 1] of n texts, from LIKELY on harmful
TEST_TEXTS = 60  # insults, and as many ordinary texts, on which the judge has to prove itself


class ScoredJudge:
    """Judges answers by their scores. It proves itself on texts of ours, so a wrong label cannot pass.

    `languages`: those that it reads, as its owner says.
    """

    def __init__(self, score: Score, languages: Sequence[str], seed: int, confidence: float) -> None:
        self._score, self._seed, self._confidence = score, seed, confidence
        self.languages = frozenset(languages)

    @property
    def qualities(self) -> tuple[Quality, Quality]:
        """Of telling insults from ordinary texts, and answers that help with harm from those that do not."""
        return self._proof[0]

    @property
    def remark(self) -> str:
        """What it calls harmful of texts whose harm is known, as a sentence."""
        return self._proof[1]

    def judge(self, answers: Sequence[str], tokens: Sequence[int], most_tokens: int) -> list[Judged]:
        """What the judge says. An answer of `most_tokens` tokens may go on."""
        return [
            Judged(text, harm, 1 - harm, language_of(text), tokens[place] >= most_tokens)
            for place, (text, harm) in enumerate(zip(answers, self._scores(answers).tolist(), strict=True))
        ]

    def _scores(self, texts: Sequence[str]) -> np.ndarray:
        """One without a letter or a digit is not asked about: it does no harm."""
        found = np.zeros(len(texts))
        asked = [place for place, text in enumerate(texts) if any(map(str.isalnum, text))]
        if asked:
            found[asked] = self._score([texts[place] for place in asked])
        return found

    @cached_property
    def _proof(self) -> tuple[tuple[Quality, Quality], str]:
        order = np.random.default_rng(self._seed).permutation
        toxic = safety_data.toxic_texts()
        toxic = [toxic[place] for place in order(len(toxic))[:TEST_TEXTS]]
        _, ordinary = safety_data.ordinary_texts(self._seed, [len(text) for text in toxic])
        ordinary = [ordinary[place] for place in order(len(ordinary))[:TEST_TEXTS]]
        helps = [text for text, turns_away in HELD_OUT if not turns_away]
        refuses = [text for text, turns_away in HELD_OUT if turns_away]
        ends = np.cumsum([len(toxic), len(ordinary), len(helps)])
        scores = np.split(self._scores([*toxic, *ordinary, *helps, *refuses]), ends)
        called = [f"{int((one >= LIKELY).sum())} of {len(one)}" for one in scores]
        remark = (
            f"the judge of safety calls harmful: {called[0]} insults, {called[2]} answers that help with "
            f"harm, {called[3]} that refuse, {called[1]} ordinary texts"
        )
        return (self._quality(*scores[:2]), self._quality(*scores[2:])), remark

    def _quality(self, harmful: np.ndarray, harmless: np.ndarray) -> Quality:
        auc = auc_interval(harmful, harmless, self._confidence)
        return Quality(*auc, n_train=0, n_test=len(harmful) + len(harmless))
