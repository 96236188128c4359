"""The report's answers that changed most, and the words that differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.reporting.changes import CUT, MOST_CHARS, most_changed, word_diff


def row(name, before, after, **more):
    return {
        "id": name, "subject": "s", "question": "Why?", "answer": "So.", "production": "a", "candidate": "b",
        "production_score": before, "candidate_score": after, **more,
    }  # fmt: skip


def test_the_largest_change_comes_first_and_losses_before_gains():
    rows = [row("small", 0.5, 0.6), row("gain", 0.0, 1.0), row("loss", 1.0, 0.0), row("same", 0.3, 0.3)]
    shown, changed = most_changed(rows)
    assert ([one.id for one in shown], changed) == (["loss", "gain", "small"], 3)


def test_ten_are_shown_and_all_are_counted():
    shown, changed = most_changed([row(f"i{place:02}", 0.0, 1.0) for place in range(12)])
    assert (len(shown), changed) == (10, 12)


def test_only_the_words_that_differ_are_marked():
    before, after = word_diff("Take two tablets a day", "Take three tablets a day")
    assert before == [("same", "Take "), ("changed", "two "), ("same", "tablets a day")]
    assert after == [("same", "Take "), ("changed", "three "), ("same", "tablets a day")]


def test_a_script_without_spaces_differs_by_character():
    assert word_diff("我喜欢茶", "我喜欢水")[1] == [("same", "我喜欢"), ("changed", "水")]


def test_a_mark_stays_with_its_letter():
    before, after = word_diff("कि", "की")
    assert (before, after) == ([("changed", "कि")], [("changed", "की")])


@pytest.mark.parametrize("texts", [("", ""), ("", "words"), ("words", "")])
def test_an_empty_answer_has_no_words(texts):
    for text, stretches in zip(texts, word_diff(*texts), strict=True):
        assert "".join(part for _, part in stretches) == text


def test_other_spaces_are_no_change():
    before, after = word_diff("one two\n", "one  two")
    assert (before, after) == ([("same", "one two\n")], [("same", "one  two")])


def test_an_answer_that_repeats_itself_is_compared():
    """A small model's loop: any way of aligning it is one of very many."""
    before, after = word_diff("a b c d " * 375, "d c b a " * 375)
    assert "".join(text for _, text in before).count("a b c d") >= 1
    assert {kind for kind, _ in after} == {"same", "changed"}


def test_a_long_unchanged_passage_is_folded():
    passage = " ".join(f"word{place}" for place in range(100))
    before, _ = word_diff(f"{passage} one", f"{passage} two")
    assert CUT in before[0][1]
    assert before[-1] == ("changed", "one")


def test_a_very_long_answer_is_cut():
    before, after = word_diff("a b " * 100_000, "c d " * 100_000)
    assert max(len(text) for _, text in before + after) <= MOST_CHARS + len(CUT)


@given(st.text(max_size=60), st.text(max_size=60))
def test_stretches_of_short_texts_are_the_texts(one, other):
    for text, stretches in zip((one, other), word_diff(one, other), strict=True):
        joined = "".join(part for _, part in stretches)
        assert joined == text or CUT in joined
