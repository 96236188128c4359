"""A suite's answers as values of JSON, and answers that are the same JSON in another order."""

import json

import numpy as np
import pytest

from pipelines.core.errors import InputError
from pipelines.evaluation.scores import right, told
from pipelines.evaluation.suite import suite_items
from pipelines.evaluation.tasks import comparable, task_of
from tests.unit.test_tasks import config_of

CALLS = [{"name": "f", "arguments": {"x": 1}, "why": "y"}]
FREE = {"type": "object"}
TAKEN = [
    ("extract", {"type": "array"}, ["x"], '["x"]'),
    ("extract", {"type": "array"}, [], "[]"),
    ("extract", {"type": "array"}, CALLS, json.dumps(CALLS, sort_keys=True)),
    ("extract", {"type": "array"}, '["x"]', '["x"]'),
    ("extract", {"type": "number"}, 2.5, "2.5"),
    ("extract", {"type": "number"}, 2.0, "2"),
    ("extract", {"type": "number"}, "2.50", "2.5"),
    ("extract", {"type": "boolean"}, True, "true"),
    ("extract", {"type": "boolean"}, False, "false"),
    ("extract", {"type": "string"}, "Bern", '"Bern"'),
    ("extract", {"type": "string"}, '"Bern"', '"Bern"'),
    ("extract", {"type": "string"}, "5", '"5"'),
    ("extract", {"enum": [None, 1]}, "null", "null"),
    ("extract", FREE, {"b": 1, "a": [{}]}, '{"a": [{}], "b": 1}'),
    ("generate", {}, 0.5, "0.5"),
    ("generate", {}, 4, "4"),
    ("generate", {}, CALLS, '[{"name": "f", "arguments": {"x": 1}}]'),
    ("generate", {}, {"a": 1}, '{"a": 1}'),
]
LEFT = [
    ("extract", {"enum": [None, 1]}, None, "it has no answer .it is null"),
    ("extract", {"type": "string"}, " ", "it has no answer .it is blank"),
    ("extract", {"type": "array"}, 5, "5 is not of type 'array'"),
    ("extract", {"type": "number"}, "x", "it is not JSON"),
    ("extract", FREE, {"a": float("nan")}, "it has no answer .it is an object"),
    ("generate", {}, True, "it has no answer .it is true or false"),
    ("generate", {}, ["x"], "it has no answer .it is a list"),
    ("choose", {}, {"a": 1}, "it has no answer .it is an object"),
    ("choose", {}, 0.5, "it has no answer .it is a number"),
]


def items(tmp_path, kind, schema, answer):
    config = config_of(tmp_path, kind, **({"json_schema": schema} if kind == "extract" else {}))
    line = {"messages": [{"role": "user", "content": "Who?"}], "answer": answer}
    (tmp_path / "suite.jsonl").write_text(json.dumps(line), "utf-8")
    return suite_items(config)


@pytest.mark.parametrize(("kind", "schema", "answer", "text"), TAKEN)
def test_an_answer_of_a_suite_may_be_any_value(tmp_path, kind, schema, answer, text):
    assert [item["answer"] for item in items(tmp_path, kind, schema, answer)] == [text]


@pytest.mark.parametrize(("kind", "schema", "answer", "words"), LEFT)
def test_what_is_no_answer_of_the_task_is_refused(tmp_path, kind, schema, answer, words):
    with pytest.raises(InputError, match=words):
        items(tmp_path, kind, schema, answer)


SAME = [('{"a": 1, "b": [2.0]}', '{"b":[2],"a":1.0}'), ('{"a": "x"}', ' {"a":"\\u0078"}')]
OTHER = [
    ('{"a": 1}', '{"a": true}'),
    ('{"a": 1}', '{"a": "1"}'),
    ("[1, 2]", "[2, 1]"),
    ('{"a": 1}', "no JSON"),
]


@pytest.mark.parametrize(
    ("one", "other", "same"), [(*two, True) for two in SAME] + [(*two, False) for two in OTHER]
)
def test_json_answers_are_compared_as_values(tmp_path, one, other, same):
    task = task_of(config_of(tmp_path, "extract", json_schema={"title": "any"}))
    known = {"answer": one, "wrong": None, "tenant": "t", "person": ("t", "p")}
    given = {"production": [one], "candidate": [other]}
    assert (task.form(one) == task.form(other)) is same
    assert np.array_equal(right([other], [known], task), [float(same)])
    assert [row.outcome for row in told(given, [known], task)] == ["both" if same else "only_production"]
    disliked = known | {"answer": None, "wrong": other}
    assert [row.outcome for row in told(given, [disliked], task)] == ["same" if same else "not_won"]
    assert (comparable(task, one) == comparable(task, other)) is same
