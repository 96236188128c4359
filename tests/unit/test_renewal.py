"""A suite of which a part is renewed: who leaves, who comes, and what reviews change."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest

from pipelines.core.conversations import conversation_key
from pipelines.core.facts.evaluate import SuiteFacts
from pipelines.policy.night.renewal import (
    Renewed,
    Reviewed,
    apply_reviews,
    new_and_changed,
    renew,
    shares_a_question,
)


def item(number, answer="first", **more):
    messages = [{"role": "user", "content": f"question {number}"}]
    return {"id": str(number), "messages": messages, "answer": answer, **more}


def said(of, answer="first", answers=("first",)):
    key = conversation_key(of["messages"])
    return {key: Reviewed(key, answer and {**of, "answer": answer}, frozenset(answers))}


def names(items):
    return [one["id"] for one in items]


SUITE = [item(number) for number in range(10)]
NEW = [item(number, suite_since="2026-11-29") for number in range(100, 105)]


def test_a_dropped_item_leaves_and_an_edit_changes_the_answer():
    reviewed = said(SUITE[0], None) | said(SUITE[1], "second", ("first", "second")) | said(SUITE[2])
    found = apply_reviews(SUITE, reviewed)
    assert names(found.items) == names(SUITE[1:])
    assert [one["answer"] for one in found.items[:3]] == ["second", "first", "first"]
    assert [one.get("reviewed") for one in found.items[:3]] == [True, True, None]
    assert (found.dropped, found.edited, found.marked, found.conflicts) == (1, 1, 2, 0)


def test_reviews_that_are_applied_change_nothing_more():
    reviewed = said(SUITE[1], "second", ("first", "second"))
    once = apply_reviews(SUITE, reviewed)
    assert apply_reviews(once.items, reviewed).items == once.items
    assert apply_reviews(once.items, reviewed).edited == 0


def test_an_answer_that_was_changed_by_hand_stays():
    by_hand = [item(0, "third"), *SUITE[1:]]
    for answer in (None, "second"):
        found = apply_reviews(by_hand, said(SUITE[0], answer, ("first", "second")))
        assert list(found.items) == by_hand
        assert found.conflicts == 1


@pytest.mark.parametrize(
    ("share", "joined", "left"), [(0.0, 0, 0), (0.2, 2, 2), (0.5, 5, 5), (1.0, 5, 5), (0.04, 0, 0)]
)
def test_a_share_of_the_suite_is_replaced(share, joined, left):
    found = renew(Renewed(tuple(SUITE)), NEW, share, len(SUITE), seed=7)
    assert (len(found.joined), len(found.retired), found.waiting) == (joined, left, 5 - joined)
    assert len(found.items) == len(SUITE)
    assert not set(names(found.retired)) & set(names(found.items))
    assert names(found.items)[10 - joined :] == names(NEW[:joined]), "the oldest proposals come first"


def test_gaps_are_filled_before_anybody_leaves():
    found = renew(Renewed(tuple(SUITE[3:])), NEW, 0.2, 10, seed=7)
    assert (len(found.joined), len(found.retired), len(found.items)) == (5, 2, 10)
    assert renew(Renewed(tuple(SUITE[3:])), NEW, 0.0, 10, seed=7).waiting == 2


def test_the_oldest_leave_and_then_a_hash_decides():
    suite = [*SUITE[:4], *(item(n, suite_since="2026-05-01") for n in range(20, 26))]
    assert set(names(renew(Renewed(tuple(suite)), NEW, 0.4, 10, seed=7).retired)) == {"0", "1", "2", "3"}
    first = [renew(Renewed(tuple(SUITE)), NEW[:1], 0.1, 10, seed=seed).retired[0]["id"] for seed in range(50)]
    assert len(Counter(first)) > 5, "another seed draws others"
    assert first[0] == renew(Renewed(tuple(SUITE[::-1])), NEW[:1], 0.1, 10, seed=0).retired[0]["id"]


def test_new_and_changed_items_are_counted_by_question():
    then, tonight = {"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}
    assert new_and_changed(tonight, then) == (1, 1)
    assert shares_a_question(tonight, then)
    assert not shares_a_question({"d": "1"}, then)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, ()),
        ({"new": 0, "changed": 0}, ()),
        ({"new": 1, "changed": 0}, ("1 of 200 items is new since the suite of 2026-11-03.",)),
        ({"new": 12, "changed": 0}, ("12 of 200 items are new since the suite of 2026-11-03.",)),
        (
            {"new": 0, "changed": 3, "unreviewed": 9},
            (
                "0 of 200 items are new, and 3 have another answer, since the suite of 2026-11-03.",
                "No person has reviewed 9 of the 200 items of the suite.",
            ),
        ),
    ],
)
def test_the_report_says_what_is_new(facts, words):
    assert SuiteFacts(items=200, since=date(2026, 11, 3), before="d", **facts).sentences == words
