"""Calls of tools are read in one way: for training, for serving and for scores."""

import json

import pytest

from pipelines.core.tools import Call, answer_text, called, calls_of, read_answer, with_tools
from pipelines.evaluation.scorers.tool_calls import tool_calls
from pipelines.models.rendering import Rendering
from tests.support import templates
from tests.support.templates import tokenizer_with

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OFFERED = with_tools([{"role": "user", "content": "Now?"}], [TOOL])
ONE = {"name": "f", "arguments": {"a": 1}}
MESSAGE = {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": [ONE]}
DIGITS = '[{"name": "f", "arguments": {"a": ' + "9" * 5_000 + "}}]"
CALLS = {
    "parameters": [{"name": "f", "parameters": {"a": 1}}],
    "a single one": ONE,
    "OpenAI's object": [{"id": "x", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    "OpenAI's message": MESSAGE,
    "nothing but calls": {"tool_calls": [ONE]},
    "an id of another type": [ONE | {"id": [1]}],
}
NO_CALLS = {
    "a person": {"name": "Bob", "age": 3},
    "a tool": [TOOL | {"function": {"name": "f", "description": "d", "parameters": {}}}],
    "a tool without an object": [{"name": "f", "description": "d", "parameters": {}}],
    "a message of a user": MESSAGE | {"role": "user"},
    "a refusal": MESSAGE | {"refusal": "I will not."},
    "other keys": MESSAGE | {"city": "Rome"},
    "content of parts": MESSAGE | {"content": ["x"]},
    "one of two": [ONE, {"name": 1, "arguments": {}}],
    **{f"name {name!r}": {"name": name, "arguments": {}} for name in ([1], {"a": 1}, None, True, 1, "", [])},
    **{f"function {one!r}": {"function": one} for one in ([1], None, "f", 1, {}, {"name": ["f"]})},
    **{f"calls {one!r}": {"content": "", "tool_calls": one} for one in (None, [], {}, "f", [[ONE]], [None])},
}  # fmt: skip


def rendering():
    return Rendering(tokenizer_with(templates.HERMES, ()), "Be short.", 2_000)


@pytest.mark.parametrize("written", CALLS.values(), ids=CALLS.keys())
def test_every_reader_finds_the_call(written):
    text, wanted = json.dumps(written), answer_text("", [Call("f", {"a": 1})])
    assert read_answer(text) == ("", [Call("f", {"a": 1})])
    assert tool_calls(text, wanted) == 1
    assert tool_calls(text, wanted.replace("1", "2")) == 0
    assert rendering().example(OFFERED, text) == rendering().example(OFFERED, wanted)


@pytest.mark.parametrize("written", NO_CALLS.values(), ids=NO_CALLS.keys())
def test_every_reader_finds_a_text(written):
    text = json.dumps(written)
    assert read_answer(text) == (text, [])
    assert calls_of(written) == called(text) == []
    assert tool_calls(text, "words") == 1
    assert tool_calls(text, json.dumps([ONE])) == 0
    for said in (text, f"<tool_call>\n{text}\n</tool_call>"):
        assert rendering().answer(OFFERED, said) == said


@pytest.mark.parametrize("text", ['[{"name": "f", "arguments": {"a": NaN}}]', DIGITS], ids=["NaN", "digits"])
def test_what_is_no_json_calls_nothing(text):
    assert read_answer(text) == (text, [])
    assert tool_calls(text, "words") == 1
    assert rendering().answer(OFFERED, text) == text


@pytest.mark.parametrize("none", ["", None, {}, "{}", "null"])
def test_no_arguments_are_an_empty_object(none):
    text = json.dumps([{"name": "f", "arguments": none}])
    assert read_answer(text) == ("", [Call("f", {})])
    assert tool_calls(text, answer_text("", [Call("f", {})])) == 1


@pytest.mark.parametrize(
    ("written", "kept"), [([1], "[1]"), (5, "5"), ("5", "5"), ("x", "x"), (True, "true")]
)
def test_arguments_that_are_no_object_are_text(written, kept):
    text = json.dumps([{"name": "f", "arguments": written}])
    calls = read_answer(text)[1]
    assert calls == [Call("f", kept)]
    assert read_answer(answer_text("", calls)) == ("", calls)
    assert rendering().answer(OFFERED, text) == text  # the tool cannot be called with it


def test_calls_are_compared_in_any_order_and_counted():
    many = [Call("f", {"a": number, "b": [number / 2]}) for number in range(3_000)]
    one, other = answer_text("", many), answer_text("", many[::-1])
    assert tool_calls(one, other) == 1
    assert tool_calls(one, answer_text("", many[1:] + many[1:2])) == 0


@pytest.mark.parametrize(("one", "other", "same"), [("1", "1.0", 1), ("1", "true", 0), ("1", '"1"', 0)])
def test_numbers_of_calls_have_one_kind(one, other, same):
    written = '[{{"name": "f", "arguments": {{"a": [{}]}}}}]'
    assert tool_calls(written.format(one), written.format(other)) == same
