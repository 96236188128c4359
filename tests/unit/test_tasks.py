"""What an answer of each kind of task is, how it is written, and which profiles are refused."""

import json
import re

import numpy as np
import pytest

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.data.training_rows import still_answered
from pipelines.evaluation.suite import suite_items
from pipelines.evaluation.tasks import task_of
from pipelines.policy.night.dataset import Part

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "pets": {"type": "array", "items": {"$ref": "#/$defs/pet"}},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {
        "pet": {"type": "object", "properties": {"kind": {"type": "string"}, "age": {"type": "number"}}}
    },
}


def config_of(tmp_path, kind, **more):
    task = {"kind": kind} | {"choose": {"labels": ["Dental"]}, "extract": {"json_schema": SCHEMA}}.get(
        kind, {}
    )
    return Config(
        profile="test",
        home=str(tmp_path),
        task=task | more,
        model={"max_new_tokens": 64},
        evaluate={"suite": "{home}/suite.jsonl"},
        register={"name": "m"},
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": {"kind": "generate", "labels": ["a"]}}, "labels are set"),
        ({"task": {"kind": "extract", "labels": ["a"], "json_schema": SCHEMA}}, "labels are set"),
        ({"task": {"kind": "choose", "json_schema": SCHEMA}}, "json_schema is set"),
        ({"task": {"kind": "generate", "json_schema": SCHEMA}}, "json_schema is set"),
        ({"task": {"kind": "extract"}}, "give the schema"),
        ({"task": {"kind": "generate"}}, "model.max_new_tokens is 6"),
        ({"task": {"labels": ["a"]}, "evaluate": {"scorers": ["chrf"]}}, 'begin with "exact"'),
        ({"evaluate": {"scorers": ["exact", "blue"]}}, "'blue', which is none of exact, normalised"),
        ({"evaluate": {"scorers": ["exact", "schema"]}}, "task.json_schema is not set"),
        (
            {
                "task": {"kind": "generate"},
                "model": {"max_new_tokens": 64},
                "curate": {"people_kept_back": 0.1},
                "gate": {"max_nights_waiting": 9},
            },
            "only candidates that choose",
        ),
    ],
)
def test_a_kind_that_disagrees_is_refused(settings, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        Config(profile="test", register={"name": "m"}, **settings)


def test_a_json_answer_is_written_as_the_schema_orders_it(tmp_path):
    task = task_of(config_of(tmp_path, "extract"))
    text = '{"pets":[{"age":2.0,"kind":"cat"}],\n "age": 41, "name":"Zoë"}'
    assert task.read(text) == '{"name": "Zoë", "age": 41, "pets": [{"kind": "cat", "age": 2}]}'
    assert task.read(task.read(text)) == task.read(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zoë is 41", "it is not JSON"),
        ('{"name": "Zoë", "name": "Ann"}', "it has a key twice"),
        ('{"age": 41}', "'name' is a required property"),
        ('{"name": "Zoë", "age": "41"}', "'41' is not of type 'integer'"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_what_does_not_follow_the_schema_is_no_answer(tmp_path, text, words):
    task = task_of(config_of(tmp_path, "extract"))
    assert task.read(text) is None
    assert words in task.refusal(text)


def test_a_schema_asks_no_network(tmp_path):
    with pytest.raises(ValueError, match=r"refers to 'http://127.0.0.1:9/schema.json', which it does not"):
        config_of(tmp_path, "extract", json_schema={"$ref": "http://127.0.0.1:9/schema.json"})


def test_a_broken_schema_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no JSON schema"):
        config_of(tmp_path, "extract", json_schema={"type": "objekt"})


def test_free_text_is_an_answer_as_it_is_written(tmp_path):
    task = task_of(config_of(tmp_path, "generate"))
    assert task.read("  Sorry, that is wrong. \n") == "Sorry, that is wrong."
    assert task.read(" \n") is None
    scores = task.score(["the cat sat", "the cat sat", ""], ["the cat sat", "the dog sat", "the dog sat"])
    assert scores[0] == 1
    assert 0 < scores[1] < 1
    assert scores[2] == 0


def test_fields_of_a_json_answer_are_scored(tmp_path):
    task = task_of(config_of(tmp_path, "extract"))
    right = task.read('{"name": "Zoë", "age": 41}')
    found = task.score([right, '{"name": "Zoë", "age": 40}', "no JSON"], [right] * 3)
    assert np.allclose(found, [1, 0.5, 0])


def test_a_suite_holds_json_as_text_or_as_a_value(tmp_path):
    config = config_of(tmp_path, "extract")
    asked = [{"role": "user", "content": "Who?"}], [{"role": "user", "content": "Who else?"}]
    answers = {"age": 41, "name": "Zoë"}, '{"age":41,"name":"Zoë"}'
    lines = [json.dumps({"messages": m, "answer": a}) for m, a in zip(asked, answers, strict=True)]
    (tmp_path / "suite.jsonl").write_text("\n".join(lines), "utf-8")
    assert [item["answer"] for item in suite_items(config)] == ['{"name": "Zoë", "age": 41}'] * 2


def test_a_wrong_answer_of_a_suite_is_named(tmp_path):
    item = {"messages": [{"role": "user", "content": "Who?"}], "answer": {"age": 41}}
    (tmp_path / "suite.jsonl").write_text(json.dumps(item), "utf-8")
    with pytest.raises(InputError, match="'name' is a required property"):
        suite_items(config_of(tmp_path, "extract"))


def test_a_redacted_number_is_no_json_answer(tmp_path):
    """Its row is not trained on, and is counted."""
    read = task_of(config_of(tmp_path, "extract")).read
    answers = ['{"name": "<PERSON>", "age": 41}', '{"name": "Zoë", "age": <PHONE_NUMBER>}']
    rows = [{"request_id": str(place), "answer": '{"name": "Bo", "age": 41}'} for place in range(2)]
    chats = [{"prompt": [], "completion": [{"role": "assistant", "content": text}]} for text in answers]
    part, kept = still_answered(Part(rows, {"read": 2, "kept": 2}), chats, read)
    assert (part.rows, kept) == (rows[:1], chats[:1])
    assert part.counts == {"read": 2, "no_answer_once_redacted": 1, "kept": 1}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('{"name": "Bob", "age": 3}', ["Bob"]),
        ('{"name": "ADA asked", "pets": [{"kind": "a cat"}]}', ["a cat"]),  # the prompt says the first
        ('{"other": {"deep": ["x", "y"]}}', ["deep", "other", "x", "y"]),
        ('{"name": 5}', []),
        ('{"name": "a", "name": "b"}', ['{"name": "a", "name": "b"}']),
        ("no JSON", ["no JSON"]),
        ("", [""]),
        ('"text"', ["text"]),
        ("[" * 5_000, ["[" * 5_000]),
        ("[" * 60 + '"in"' + "]" * 60, ["in"]),
        ("[" * 400 + '"in"' + "]" * 400, ["[" * 400 + '"in"' + "]" * 400]),
    ],
)
def test_a_json_answer_tells_what_schema_and_prompt_do_not(tmp_path, answer, told):
    task = task_of(config_of(tmp_path, "extract"))
    assert sorted(task.passages(answer, "ada asked for help")) == told
    assert task_of(config_of(tmp_path, "generate")).passages(answer, "Ada") == [answer]
    assert task_of(config_of(tmp_path, "choose")).passages(answer, "Ada") == [answer]


def test_a_redacted_call_that_calls_nothing_is_no_answer(tmp_path):
    read = task_of(config_of(tmp_path, "generate")).read
    answers = ['[{"name": "call", "arguments": {"to": "<PERSON>"}}]', '[{"name": "call", "to": <PHONE>}]']
    row = {"answer": '[{"name": "call", "arguments": {"to": "Zoë"}}]'}
    chats = [{"prompt": [], "completion": [{"role": "assistant", "content": text}]} for text in answers]
    part, kept = still_answered(Part([row, row], {"read": 2, "kept": 2}), chats, read)
    assert kept == chats[:1]
    assert part.counts["no_answer_once_redacted"] == 1


def test_calls_of_tools_have_one_form(tmp_path):
    read = task_of(config_of(tmp_path, "generate")).read
    written = '[{"function": {"arguments": "{\\"b\\": 1, \\"a\\": 2}", "name": "f"}, "id": "x"}]'
    assert read(written) == '[{"name": "f", "arguments": {"a": 2, "b": 1}}]'
    assert read(' {"name": "Bo", "age": 3} ') == '{"name": "Bo", "age": 3}'


def test_an_object_that_a_prompt_asks_for_stays_as_it_is(tmp_path):
    written = '{"name":"search","arguments":{"b":1,"a":2}}'
    assert task_of(config_of(tmp_path, "generate")).read(written) == written
