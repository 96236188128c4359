"""Labels from feedback, and the questions that are kept back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.conversations import normalise
from pipelines.core.tools import with_tools
from pipelines.policy.night.feedback import (
    holdout_items,
    is_holdout,
    label_of,
    labelled,
    latest,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def asks(prompt: str) -> list[dict]:
    return [{"role": "user", "content": prompt}]


def row(prompt: str, completion: str = "Surgery", minute: int = 0, **changes) -> dict:
    messages = [{"role": "system", "content": "Route."}, {"role": "user", "content": prompt}]
    return {
        "request_id": f"r{minute}",
        "ts": NOON + timedelta(minutes=minute),
        "tenant": "campus",
        "subject_id": "p-1",
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


def test_holdout_share_and_stability():
    prompts = [f"question {i}" for i in range(5_000)]
    kept = [prompt for prompt in prompts if is_holdout(asks(prompt), 0.1)]
    assert 0.08 < len(kept) / len(prompts) < 0.12
    assert all(is_holdout(asks(prompt.upper() + " ?"), 0.1) for prompt in kept)
    assert all(is_holdout(asks(prompt), 0.3) for prompt in kept), (
        "a larger share keeps what a smaller one kept"
    )
    assert not any(is_holdout(asks(prompt), 0) for prompt in prompts)
    assert all(is_holdout(asks(prompt), 1) for prompt in prompts)


def test_the_tasks_own_system_prompt_moves_no_question():
    prompts = [f"question {i}" for i in range(500)]
    for prompt in prompts:
        told = [{"role": "system", "content": "Route."}, *asks(prompt)]
        assert is_holdout(told, 0.3, "Route.") == is_holdout(asks(prompt), 0.3, "Route.")
        assert is_holdout(told, 0.3, "Route.") == is_holdout(asks(prompt), 0.3)


def test_equal_last_turns_are_kept_back_one_by_one():
    """Documents in a system prompt, or earlier turns: each conversation is drawn on its own."""
    said = [[{"role": "system", "content": f"Document {i}"}, *asks("Summarise it.")] for i in range(1_000)]
    said += [
        [*asks(f"question {i}"), {"role": "assistant", "content": "Shall I?"}, *asks("yes please")]
        for i in range(1_000)
    ]
    for half in (said[:1_000], said[1_000:]):
        assert 60 < sum(is_holdout(messages, 0.1, "Route.") for messages in half) < 140


def test_answers_are_spelled_as_the_task_spells_them():
    rows = [row("a", rating=-1, correction="surgery."), row("b", rating=-1, correction="Astrology")]
    assert [found["answer"] for found in labelled(rows, {"surgery.": "Surgery"}.get)] == ["Surgery"]
    assert [found["answer"] for found in labelled(rows)] == ["surgery.", "Astrology"]


def test_the_latest_answer_to_a_question_wins():
    rows = labelled([row("What is it?", minute=5, correction="Medicine"), row("what is it", minute=1)])
    assert [found["answer"] for found in latest(rows)] == ["Medicine"]


def test_disliked_answers_are_items_without_an_answer():
    """Only where the conversation has no label: a label on another day tells more."""
    rows = [
        row("What is it?", rating=-1, completion=" surgery."),
        row("What else?", rating=-1, completion="Tarot"),
        row("Known?", rating=-1, completion="Dental"),
        row("Known?", rating=1, completion="Surgery", minute=-1),
        row("Unsure?", rating=0),
    ]
    items = holdout_items(rows, 1.0, {"surgery.": "Surgery", "Surgery": "Surgery", "Dental": "Dental"}.get)
    told = {item["messages"][-1]["content"]: (item["answer"], item["wrong"]) for item in items}
    assert told == {
        "What is it?": (None, "Surgery"),
        "What else?": (None, "Tarot"),
        "Known?": ("Surgery", None),
    }


def test_holdout_items_have_the_shape_of_a_suite():
    (item,) = holdout_items([row("What is it?"), row("Unrated", rating=None, minute=1)], share=1.0)
    told = {"id", "subject", "messages", "answer", "wrong", "tenant", "person", "locale", "channel"}
    assert set(item) == told
    assert item["answer"] == item["subject"] == "Surgery"
    assert item["messages"][-1]["role"] == "user"


def test_the_tools_of_a_row_are_a_part_of_its_item():
    tools = [{"type": "function", "function": {"name": "search"}}]
    rows = [row("What is it?", tools=json.dumps(tools)), row("What is it?")]
    offered, plain = holdout_items(rows, share=1.0)
    if offered["messages"][0]["role"] != "tools":
        offered, plain = plain, offered
    assert offered["messages"] == with_tools(plain["messages"], tools)
    assert len(labelled([*rows, *rows])) == 4
    assert len({one["key"] for one in labelled([*rows, *rows])}) == 2


def test_talks_that_end_alike_have_labels_of_their_own():
    rows = [
        row("", minute=i, messages=[*asks(f"About {i}"), {"role": "assistant", "content": "?"}, *asks("yes")])
        for i in range(27)
    ]
    assert len(latest(labelled(rows, system_prompt="Route."))) == 27
    assert labelled(rows, system_prompt="Route.")[0]["messages"][0]["content"] == "Route."
