"""A conversation's identity is everything the model saw."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.conversations import (
    conversation_key,
    last_question,
    lone_question,
    normalise_messages,
    question_text,
    with_system,
)
from tests.support.fuzz import examples

SYSTEM = "Answer with one label."


def says(role, content, **more):
    return {"role": role, "content": content, **more}


def talk(subject):
    return [says("user", f"Tell me of {subject}"), says("assistant", "Shall I?"), says("user", "yes please")]


def test_equal_last_words_of_different_talks_are_different():
    subjects = ["gout", "asthma", "caries"]
    assert len({conversation_key(talk(subject)) for subject in subjects}) == 3
    asked = [says("user", "Summarise the document.")]
    assert len({conversation_key([says("system", subject), *asked]) for subject in subjects}) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([says("user", "What IS\tgout ?")], [says("user", "what is gout")]),
        ([says("developer", "a"), says("user", "b")], [says("system", "a"), says("user", "b")]),
        ([says("user", [{"type": "text", "text": "a b"}])], [says("user", "a b")]),
        ([says("user", "a", name=None)], [says("user", "a")]),
        (
            [says("assistant", None, tool_calls='[{"id": 1}]')],
            [says("assistant", "", tool_calls=[{"id": 1}])],
        ),
    ],
)
def test_form_does_not_matter(one, other):
    assert conversation_key(one) == conversation_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([says("user", "a")], [says("assistant", "a")]),
        ([says("user", "a"), says("user", "b")], [says("user", "a b")]),
        ([says("user", "?")], [says("user", "!")]),
        ([says("user", "a")], [says("user", "a", name="ann")]),
        ([says("user", "a")], [says("system", ""), says("user", "a")]),
    ],
)
def test_what_the_model_saw_matters(one, other):
    assert conversation_key(one) != conversation_key(other)


def test_tools_belong_to_a_conversation():
    asked, tools = [says("user", "a")], [{"name": "search"}]
    assert conversation_key(asked, tools) == conversation_key(asked, json.dumps(tools, indent=2))
    assert conversation_key(asked, tools) != conversation_key(asked)
    assert conversation_key(asked, "") == conversation_key(asked, []) == conversation_key(asked)


def test_the_tasks_system_prompt_is_added_once():
    asked = [says("user", "a")]
    assert with_system(asked, SYSTEM) == [says("system", SYSTEM), *asked]
    assert with_system(with_system(asked, SYSTEM), SYSTEM) == with_system(asked, SYSTEM)
    assert with_system([says("developer", "Other."), *asked], SYSTEM)[0] == says("system", "Other.")
    assert with_system(asked, "") == asked


def test_the_question_is_the_text_that_carries_it():
    assert question_text([says("system", SYSTEM), says("user", "a")]) == "a"
    assert question_text([says("system", SYSTEM), *talk("gout")]) == "Tell me of gout\nShall I?\nyes please"
    told = [says("system", "The document."), says("user", "Summarise it.")]
    assert question_text(told, SYSTEM) == "The document.\nSummarise it."
    assert question_text([says("system", SYSTEM.upper()), says("user", "a")], SYSTEM) == "a"
    assert last_question(talk("gout")) == "yes please"
    assert last_question([says("system", "a")]) == ""


def test_a_lone_question_has_nothing_else_beside_it():
    assert lone_question([says("system", SYSTEM), says("user", "a")], SYSTEM) == "a"
    assert lone_question([says("user", "a")], SYSTEM) == "a"
    assert lone_question([says("system", "Other."), says("user", "a")], SYSTEM) is None
    assert lone_question(talk("gout"), SYSTEM) is None


ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
TURNS = st.lists(st.builds(says, ROLES, st.text() | st.none()), max_size=5)


@settings(max_examples=examples(), deadline=None, derandomize=True)
@given(TURNS)
def test_one_form_stays_as_it_is(turns):
    once = normalise_messages(turns)
    assert normalise_messages(once) == once
    assert conversation_key(once) == conversation_key(turns)
    assert isinstance(question_text(turns), str)
