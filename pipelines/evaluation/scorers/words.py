"""Scores by the words that two texts share, in any language.

Where a script is written without spaces between words, each character counts as one word, as in the
evaluation of MLQA (Lewis et al. 2020, "MLQA: Evaluating Cross-lingual Extractive Question Answering").
"""

from __future__ import annotations

from collections import Counter

import regex
from rapidfuzz.distance import LCSseq

from pipelines.core.spelling import normal_form, numbers_apart
from pipelines.evaluation.scorers.common import f1

_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[{_UNSPACED}]]+", regex.V1)
_TOKEN = regex.compile(rf"[{_UNSPACED}]\p{{M}}*|[^\s{_UNSPACED}]+", regex.V1)
_PUNCTUATION = regex.compile(r"[\p{P}$+<=>^`|~]")
_ARTICLES = {"a", "an", "the"}


def token_f1(answer: str, reference: str) -> float:
    """F1 of the words of two texts, whatever their order.

    As SQuAD's: case, punctuation and English articles do not count (Rajpurkar et al. 2016, "SQuAD: 100,000+
    Questions for Machine Comprehension of Text"). Articles count where one text has no other word, such as
    the choice "A".
    """
    found, wanted = _tokens(answer), _tokens(reference)
    bare = [[token for token in tokens if token not in _ARTICLES] for tokens in (found, wanted)]
    found, wanted = bare if all(bare) else (found, wanted)
    if not (found and wanted):
        return float(answer.strip() == reference.strip())
    return f1((Counter(found) & Counter(wanted)).total(), len(found), len(wanted))


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, "ROUGE", ACL workshop on summarization)."""
    found, wanted = words(answer), words(reference)
    if not (found and wanted):
        return float(answer.strip() == reference.strip())
    number = {word: place for place, word in enumerate(dict.fromkeys([*found, *wanted]))}
    common = LCSseq.similarity([number[word] for word in found], [number[word] for word in wanted])
    return f1(common, len(found), len(wanted))


def words(text: str) -> list[str]:
    """The words of a text, case folded. Anything but letters, digits and their marks parts two words."""
    return _WORD.findall(_folded(text))


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(_PUNCTUATION.sub("", _folded(text)))


def _folded(text: str) -> str:
    return normal_form("NFKC", numbers_apart(text)).casefold()
