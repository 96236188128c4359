"""Labels from feedback, and the questions that are kept back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.policy.night.feedback import (
    holdout_items,
    is_holdout,
    label_of,
    labelled,
    latest,
    normalise,
    prompt_of,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def row(prompt: str, completion: str = "Surgery", minute: int = 0, **changes) -> dict:
    messages = [{"role": "system", "content": "Route."}, {"role": "user", "content": prompt}]
    return {
        "request_id": f"r{minute}",
        "ts": NOON + timedelta(minutes=minute),
        "tenant": "campus",
        "messages": messages,
        "completion": completion,
        "rating": 1,
        "correction": None,
        "locale": "en-GB",
        "channel": "web",
        **changes,
    }


@pytest.mark.parametrize(
    ("rating", "correction", "expected"),
    [
        (1, None, "Surgery"),
        (1, "Medicine", "Medicine"),
        (-1, " Medicine ", "Medicine"),
        (None, "Medicine", "Medicine"),
        (-1, None, None),
        (0, "  ", None),
        (None, None, None),
        (1, "", "Surgery"),
    ],
)
def test_a_correction_wins_then_a_liked_answer(rating, correction, expected):
    assert label_of(rating, correction, "Surgery") == expected


def test_an_empty_liked_answer_is_no_label():
    assert label_of(1, None, "  ") is None


@settings(derandomize=True)
@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    assert normalise(normalise(text)) == normalise(text)


def test_normalise_ignores_form_but_not_content():
    assert normalise(" What IS\tcaries ?") == normalise("what is caries")
    assert normalise("Na+ channel") != normalise("Na channel")


def test_the_prompt_is_the_last_user_message():
    assert prompt_of([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]) == "a"
    assert prompt_of([{"role": "system", "content": "a"}]) == ""


def test_holdout_share_and_stability():
    prompts = [f"question {i}" for i in range(5_000)]
    kept = [prompt for prompt in prompts if is_holdout(prompt, 0.1)]
    assert 0.08 < len(kept) / len(prompts) < 0.12
    assert all(is_holdout(prompt.upper() + " ?", 0.1) for prompt in kept)
    assert all(is_holdout(prompt, 0.3) for prompt in kept), "a larger share keeps what a smaller one kept"
    assert not any(is_holdout(prompt, 0) for prompt in prompts)
    assert all(is_holdout(prompt, 1) for prompt in prompts)


def test_answers_are_spelled_as_the_task_spells_them():
    rows = [row("a", rating=-1, correction="surgery."), row("b", rating=-1, correction="Astrology")]
    assert [found["answer"] for found in labelled(rows, labels=("Surgery", "Medicine"))] == ["Surgery"]
    assert [found["answer"] for found in labelled(rows)] == ["surgery.", "Astrology"]


def test_the_latest_answer_to_a_question_wins():
    rows = labelled([row("What is it?", minute=5, correction="Medicine"), row("what is it", minute=1)])
    assert [found["answer"] for found in latest(rows)] == ["Medicine"]


def test_holdout_items_have_the_shape_of_a_suite():
    (item,) = holdout_items([row("What is it?"), row("Unrated", rating=None, minute=1)], share=1.0)
    assert set(item) == {"id", "subject", "messages", "answer", "tenant", "locale", "channel"}
    assert item["answer"] == item["subject"] == "Surgery"
    assert item["messages"][-1]["role"] == "user"
