"""What looks like one hand behind much feedback: copies, bursts, sudden agreement. Pure.

| flag      | what stands out                                                                          |
|-----------|------------------------------------------------------------------------------------------|
| burst     | a person, or a tenant, has a larger share of tonight's labels than anybody had on a night |
| copies    | several people gave the same answer to one text; numbers and order may differ            |
| agreement | people use a phrase that earlier ones hardly used, and all of them say the same          |

Flags are shown and hold nothing. A busy day, a popular question and a new product look the same, and whoever
could hold a night by a flag could stop all training. What holds are the caps and the gate. Words name no
person and no text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from scipy.stats import binom

from pipelines.core.facts.common import Flag

MOST_FLAGS = 5  # of a kind that are told, the largest first
LEAST_PEOPLE = 5  # who stand behind copies or an agreement
LEAST_ROWS = 20  # of a night whose shares are compared
LEAST_NIGHTS = 7
WORDS = 3  # of a phrase, at most
NEW = 0.1  # a phrase is new where at most so large a share of earlier people used it, as a part of tonight's
LEAST_BEFORE = 0.5  # people who asked before, for each one of tonight, from which on a phrase can be new
ALPHA = 0.01  # of a kind of flag, on a night like the others


class Said(NamedTuple):
    """A labelled row; `text` is the question in one form."""

    person: Hashable
    text: str
    answer: str


class NightCounts(NamedTuple):
    """A night's labelled rows, and those of the person and of the tenant with the most."""

    rows: int
    people: int
    of_person: int
    tenants: int
    tenant: str
    of_tenant: int


def bursts(tonight: NightCounts, earlier: Sequence[NightCounts]) -> list[Flag]:
    """Whether a person or a tenant has a larger share of tonight than anybody had on an earlier night.

    It must be beyond chance, too: the exact binomial tail at the largest earlier share, times the number of
    those who gave a row (Bonferroni). A tenant counts where there are several.
    """
    nights = [night for night in earlier if night.rows >= LEAST_ROWS]
    if len(nights) < LEAST_NIGHTS or tonight.rows < LEAST_ROWS:
        return []
    person = (tonight.of_person, tonight.people, max(night.of_person / night.rows for night in nights))
    tenant = (tonight.of_tenant, tonight.tenants, max(night.of_tenant / night.rows for night in nights))
    found = []
    for who, (most, count, usual) in {"one person": person, f"the tenant {tonight.tenant}": tenant}.items():
        if count > 1 and count * binom.sf(most - 1, tonight.rows, usual) <= ALPHA:
            share = most / tonight.rows
            words = (
                f"{who} gave {share:.0%} of the night's labelled rows, on earlier nights at most {usual:.0%}"
            )
            found.append(Flag(kind="burst", rows=most, words=words))
    return found


def copies(rows: Sequence[Said]) -> list[Flag]:
    """Texts to which several people gave the same answer."""
    groups: defaultdict[tuple[frozenset[str], str], list[Said]] = defaultdict(list)
    for row in rows:
        if gist := _gist(row.text):
            groups[gist, row.answer].append(row)
    return _largest(
        Flag(kind="copies", rows=len(group), words=f"{people} people gave one answer to copies of one text")
        for group in groups.values()
        if (people := len({row.person for row in group})) >= LEAST_PEOPLE
    )


def agreements(rows: Sequence[Said], before: Sequence[Said]) -> list[Flag]:
    """New phrases about which all people say the same.

    The chance of that is at most the answer's share among all people's answers, to the power of the number of
    people; Bonferroni corrects for all phrases that several people use. Each person counts once. Where few
    people asked before, any phrase is new, so nothing is told.
    """
    people, people_before = (len({row.person for row in part}) for part in (rows, before))
    if not rows or people_before < LEAST_BEFORE * people:
        return []
    now, past = _people_by_phrase(rows), _people_by_phrase(before)
    used = {phrase: said for phrase, said in now.items() if len(said) >= LEAST_PEOPLE}
    rate, found = _rates([*rows, *before]), dict[frozenset[Hashable], Flag]()
    for phrase, said in used.items():
        is_new = len(past.get(phrase, ())) / people_before <= NEW * len(said) / people
        answers = set(said.values())
        if is_new and len(answers) == 1 and len(used) * rate[answers.pop()] ** len(said) <= ALPHA:
            words = (
                f"{len(said)} people use a phrase that was hardly used before, and all say the same about it"
            )
            found[frozenset(said)] = Flag(kind="agreement", rows=len(said), words=words)
    return _largest(found.values())


def _people_by_phrase(rows: Sequence[Said]) -> Mapping[str, dict[Hashable, str]]:
    """Phrase -> person -> the newest answer about it."""
    found: defaultdict[str, dict[Hashable, str]] = defaultdict(dict)
    for row in rows:
        for phrase in set(_phrases(row.text)):
            found[phrase][row.person] = row.answer
    return found


def _rates(rows: Sequence[Said]) -> dict[str, float]:
    """Each answer's share. A person counts once with each answer."""
    counts = Counter(answer for _, answer in {(row.person, row.answer) for row in rows})
    return {answer: count / counts.total() for answer, count in counts.items()}


def _phrases(text: str) -> Iterator[str]:
    words = text.lower().split()
    for size in range(1, WORDS + 1):
        for start in range(len(words) - size + 1):
            yield " ".join(words[start : start + size])


def _gist(text: str) -> frozenset[str]:
    """The words of a text without their order, and without those that hold a digit."""
    return frozenset(word for word in text.lower().split() if not any(map(str.isdigit, word)))


def _largest(found: Iterable[Flag]) -> list[Flag]:
    return sorted(found, key=lambda flag: (-flag.rows, flag.words))[:MOST_FLAGS]
