"""The tables of options in docs/gateway.md are true: each value that they name is asked for."""

import json
import re
import time
from pathlib import Path
from typing import get_type_hints

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from gateway.errors import Refusal
from gateway.http.errors import validated
from gateway.http.schemas import ChatRequest, PredictRequest

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "gateway.md").read_text()
BODY = {"model": "department-router", "messages": [{"role": "user", "content": "Which tooth?"}]}
QUOTED = re.compile(r"`([^`]+)`")


def table(first):
    """The rows of the table whose first column has this name, as lists of cells."""
    rows = DOCS.split(f"\n| {first} |")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


OPTIONS = [
    (option, taken, refused)
    for names, taken, refused, _ in table("option")
    for option in QUOTED.findall(names)
]
TAKEN = [(option, value) for option, taken, _ in OPTIONS for value in QUOTED.findall(taken)]
REFUSED = [(option, value) for option, _, refused in OPTIONS for value in QUOTED.findall(refused)]


def read(**fields):
    return validated(ChatRequest, json.dumps(BODY | fields).encode())


def refusal(**fields):
    with pytest.raises(Refusal) as raised:
        read(**fields)
    assert raised.value.status == 400
    assert raised.value.message
    return raised.value


def test_every_option_of_openai_is_listed():
    openai = {*get_type_hints(CompletionCreateParamsStreaming)}
    ours = {"guided_choice", "locale", "channel", "opt_out"}
    listed = [option for option, _, _ in OPTIONS]
    assert sorted(listed) == sorted({*listed}) == sorted(openai | ours) == sorted(ChatRequest.model_fields)


@pytest.mark.parametrize(("option", "value"), TAKEN, ids=[f"{o}={v}"[:50] for o, v in TAKEN])
def test_a_value_is_taken(option, value):
    read(**{option: json.loads(value)})


@pytest.mark.parametrize(("option", "value"), REFUSED, ids=[f"{o}={v}"[:50] for o, v in REFUSED])
def test_a_value_is_refused_by_name(option, value):
    found = refusal(**{option: json.loads(value)})
    assert re.split(r"[.\[]", found.param)[0] == option


@pytest.mark.parametrize(("body", "said", "_why"), [tuple([*row, ""][:3]) for row in table("body")])
def test_options_fit_together_or_are_refused(body, said, _why):
    fields = json.loads(QUOTED.findall(body)[0])
    if said == "200":
        read(**fields)
    else:
        assert f"400 `{refusal(**fields).param}`" == said


@pytest.mark.parametrize("name", ["top_k", "min_p", "guided_json", "repetition_penalty", "Temperature"])
def test_an_unknown_option_is_refused_even_as_null(name):
    assert refusal(**{name: None}).param == name


def test_a_tiny_temperature_is_greedy():
    for temperature in (None, 0, 1e-320, 9e-4):
        assert read(temperature=temperature).completion(64).temperature == 0
    assert read(temperature=1e-3).completion(64).temperature == 1e-3


def test_what_the_engine_gets():
    parts = [{"type": "text", "text": "Which "}, {"type": "text", "text": "tooth?"}]
    back = {"role": "assistant", "content": "Dental", "refusal": None, "annotations": [], "audio": None}
    back |= {"function_call": None, "tool_calls": None}
    turns = [{"role": "developer", "content": "One label."}, {"role": "user", "content": parts}, back]
    request = read(messages=turns, max_tokens=7, stop="x").completion(64)
    assert [(one["role"], one["content"]) for one in request.messages] == [
        ("system", "One label."),
        ("user", "Which tooth?"),
        ("assistant", "Dental"),
    ]
    assert (request.max_tokens, request.stop) == (7, ["x"])
    assert read().completion(64).max_tokens == 64


def test_a_prediction_is_of_a_text_or_a_conversation():
    turns = [{"role": "developer", "content": "Be short."}, {"role": "user", "content": "Which tooth?"}]
    asked = validated(PredictRequest, json.dumps({"messages": turns}).encode()).turns
    assert asked == [{"role": "system", "content": "Be short."}, turns[1]]
    assert validated(PredictRequest, b'{"text": "Which tooth?"}').turns == turns[1:]
    for body in ({}, {"text": "x", "messages": turns}, {"messages": []}, {"text": None, "messages": None}):
        with pytest.raises(Refusal) as raised:
            validated(PredictRequest, json.dumps(body).encode())
        assert raised.value.status == 400


BODIES = {
    "empty": b"",
    "no object": b"[]",
    "cut off": b'{"model": "x"',
    "NaN": b'{"temperature": NaN}',
    "infinite": b'{"temperature": -Infinity}',
    "beyond a double": b'{"temperature": 1e999}',
    "beyond any integer": b'{"seed": ' + b"9" * 5000 + b"}",
    "a key twice": b'{"seed": 1, "seed": 2}',
    "a key twice, below": b'{"messages": [{"role": "user", "content": "x", "content": "y"}]}',
    "a lone surrogate": b'{"model": "\\ud800"}',
    "a lone surrogate as a key": b'{"\\udfff": 1}',
    "half a pair": b'{"messages": [{"role": "user", "content": "\\ud83d and \\ude00"}]}',
    "not UTF-8": b'{"model": "\xff"}',
    "UTF-16": '{"model": "x"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "nested lists": b'{"messages": ' + b"[" * 100_000,
    "nested objects": b'{"a":' * 50_000,
    "nested, whole": json.dumps(BODY)[:-1].encode() + b', "tools": ' + b"[" * 900 + b"]" * 900 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_odd_json_is_refused(body):
    with pytest.raises(Refusal) as raised:
        validated(ChatRequest, body)
    assert raised.value.status == 400
    json.dumps(raised.value.body(), ensure_ascii=False).encode()  # it can be sent


def test_whole_characters_are_taken():
    body = json.dumps(BODY | {"user": "\U0001f600"})
    assert "\\ud83d\\ude00" in body
    assert validated(ChatRequest, body.encode()).person == "\U0001f600"


def test_an_error_shows_the_value_but_no_long_text():
    assert (refusal(stop=[""]).param, refusal(guided_choice=["a", ""]).param) == ("stop", "guided_choice")
    assert "0.1" in refusal(top_p=0.1).message
    assert '"king"' in refusal(messages=[{"role": "king", "content": "x"}]).message
    assert "x" * 100 not in refusal(stop="x" * 10_000).message


@pytest.mark.parametrize("place", ["top", "message"])
def test_a_body_full_of_mistakes_is_refused_fast(place):
    keys = ",".join(f'"{number}":1' for number in range(28_000))
    body = f'{{"messages":[{{{keys}}}]}}' if place == "message" else f"{{{keys}}}"
    began = time.process_time()
    for raw in (body, body.replace('"27999"', '"0"')):  # the second has a key twice
        with pytest.raises(Refusal):
            validated(ChatRequest, raw.encode())
    assert time.process_time() - began < 10
