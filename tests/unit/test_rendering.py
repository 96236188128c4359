"""One rendering: what is trained on is what is asked, whatever the base model's chat template does."""

from __future__ import annotations

import re

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pipelines.models.rendering import CannotRender, Rendering, TooLong
from tests.support import templates
from tests.support.fuzz import examples
from tests.support.templates import END, tokenizer_with

SYSTEM = "Answer with one label."
NAMES = sorted(END)


def says(role, content):
    return {"role": role, "content": content}


def rendering_with(name, system=SYSTEM, most=10_000):
    return Rendering(tokenizer_with(getattr(templates, name)), system, most)


def shown(rendering, ids):
    return rendering.tokenizer.decode(ids)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_prompt_is_the_prompt_that_is_asked(name):
    rendering, asked = rendering_with(name), [says("user", "Where is the femur?")]
    example = rendering.example(asked, "first")
    assert example.prompt_ids == rendering.prompt(asked).ids
    (path,) = rendering.paths(["first"])
    assert tuple(example.answer_ids[: len(path)]) == path
    assert shown(rendering, path).strip() == f"first{END[name]}"


@pytest.mark.parametrize("name", NAMES)
def test_the_system_prompt_is_said_once_by_every_template(name):
    rendering, asked = rendering_with(name), [says("user", "Where?")]
    for messages in (asked, [says("system", SYSTEM), *asked], [says("developer", SYSTEM), *asked]):
        text = shown(rendering, rendering.prompt(messages).ids)
        assert text.count(SYSTEM) == 1
        assert text.index(SYSTEM) < text.index("Where?")
    assert rendering.takes_system == (name not in ("GEMMA", "MISTRAL"))


@pytest.mark.parametrize("name", NAMES)
def test_earlier_turns_are_asked_as_they_were_said(name):
    rendering = rendering_with(name)
    messages = [says("user", "One?"), says("assistant", "first"), says("user", "Two?")]
    text = shown(rendering, rendering.prompt(messages).ids)
    assert text.index("One?") < text.index("first") < text.index("Two?")


def test_a_template_that_thinks_is_asked_without_thinking():
    asked = [says("user", "Where?")]
    for name, block in (("THINKING", "<think>\n\n</think>\n\n"), ("HIDDEN_THINKING", "")):
        rendering = rendering_with(name)
        assert shown(rendering, rendering.prompt(asked).ids).endswith(f"<|im_start|>assistant\n{block}")
        assert shown(rendering, rendering.example(asked, "first").answer_ids) == "first<|im_end|>\n"


def test_a_prompt_is_the_same_on_every_day():
    text = shown(rendering_with("LLAMA"), rendering_with("LLAMA").prompt([says("user", "Where?")]).ids)
    assert "Today: 26 Jul 2024" in text


def test_a_space_before_the_answer_is_part_of_it():
    rendering = rendering_with("MISTRAL")
    assert shown(rendering, rendering.example([says("user", "Where?")], "first").answer_ids) == " first</s>"


@pytest.mark.parametrize("name", ["GEMMA", "MISTRAL"])
def test_turns_that_a_template_refuses_are_refused_in_its_words(name):
    with pytest.raises(CannotRender, match="alternate"):
        rendering_with(name).prompt([says("user", "One?"), says("user", "Two?")])


def test_a_template_that_loses_a_turn_is_refused():
    with pytest.raises(CannotRender, match="leaves out a user turn"):
        rendering_with("FORGETFUL", system="").prompt(
            [says("user", "One?"), says("assistant", "a"), says("user", "Two?")]
        )


def test_a_base_without_a_template_is_refused_by_name():
    with pytest.raises(CannotRender, match=r"has no chat template.*model\.base"):
        Rendering(tokenizer_with(None), SYSTEM, 100)


def test_a_base_whose_template_is_broken_is_refused():
    with pytest.raises(CannotRender, match="unexpected"):
        Rendering(tokenizer_with("{{ messages[0 }}"), SYSTEM, 100)


@pytest.mark.parametrize("labels", [("yes", "yes please"), ("a", "ab", "abc")])
@pytest.mark.parametrize("name", NAMES)
def test_no_labels_path_begins_anothers(name, labels):
    paths = rendering_with(name).paths(labels)
    assert not any(a != b and b[: len(a)] == a for a in paths for b in paths)


TALK = [
    says("system", SYSTEM),
    *(says(role, f"{role} {n} " + "x" * 20) for n in range(6) for role in ("user", "assistant")),
    says("user", "the last question"),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_oldest_exchanges_go_first(name):
    whole = rendering_with(name).prompt(TALK)
    assert whole.dropped_turns == 0
    cut = rendering_with(name, most=len(whole.ids) - 1).prompt(TALK)
    text = shown(rendering_with(name), cut.ids)
    assert cut.dropped_turns == 2
    kept = [words in text for words in (SYSTEM, "user 1", "the last question", "user 0", "assistant 0")]
    assert kept == [True, True, True, False, False]


@pytest.mark.parametrize("name", NAMES)
def test_a_last_turn_that_does_not_fit_is_too_long(name):
    least = len(rendering_with(name).prompt([TALK[0], TALK[-1]]).ids)
    assert rendering_with(name, most=least).prompt(TALK).dropped_turns == 12
    with pytest.raises(TooLong) as raised:
        rendering_with(name, most=least - 1).prompt(TALK)
    assert (raised.value.tokens, raised.value.most) == (least, least - 1)


def test_a_greeting_before_the_first_question_goes_alone():
    greeted = [
        says("assistant", "Hello!"),
        says("user", "One?"),
        says("assistant", "a"),
        says("user", "Two?"),
    ]
    rendering = rendering_with("CHATML")
    most = len(rendering.prompt(greeted).ids) - 1
    assert rendering_with("CHATML", most=most).prompt(greeted).dropped_turns == 1


TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)


@settings(max_examples=examples(), deadline=None, derandomize=True)
@given(st.sampled_from(NAMES), st.lists(TEXTS, min_size=1, max_size=9), st.integers(40, 400))
def test_any_conversation_is_rendered_cut_or_refused(name, texts, most):
    rendering = rendering_with(name, most=most)
    turns = [says("user" if place % 2 == 0 else "assistant", text) for place, text in enumerate(texts)]
    turns = turns if turns[-1]["role"] == "user" else turns[:-1]
    try:
        example = rendering.example(turns, "first")
    except TooLong:
        event("too long")
        return
    except CannotRender as error:  # one of the texts is what this template marks its turns with
        mark = re.search(r"holds '(.+)', by which the base model tells turns apart", str(error))[1]
        assert any(mark in text for text in texts)
        return
    assert len(example.prompt_ids) <= most
    assert example.dropped_turns % 2 == 0
    assert turns[-1]["content"].strip() in shown(rendering, example.prompt_ids)


def test_a_system_prompt_alone_is_no_question_for_every_base():
    rendering = Rendering(tokenizer_with(templates.GEMMA), "", 500)
    with pytest.raises(CannotRender, match="No user speaks"):
        rendering.prompt([{"role": "system", "content": "Be brief."}])
