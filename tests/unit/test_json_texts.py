"""One strict reader of JSON texts, and what uses it."""

import json

import pytest

from gateway.http.routes import _value
from pipelines.core.config.model import Task
from pipelines.core.json_texts import NotJson, canonical, json_of, same_value
from pipelines.evaluation.scorers.json_answers import field_f1, schema_rule, valid_json
from pipelines.evaluation.scorers.texts import exact
from pipelines.evaluation.tasks import task_of
from pipelines.stores.suites.answers import refusal
from tests.unit.test_tasks import config_of

NUMBER = {"type": "object", "properties": {"price": {"type": "number", "multipleOf": 0.01}}}
REFUSED = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e400": "too large",
    "-1e400": "too large",
    "1" + "0" * 400: "too large",
    "-" + "9" * 5_000: "too large",
    "[" * 101 + "]" * 101: "nested too deeply",
    "[" * 100_000: "nested too deeply",
    '{"a": 1, "a": 2}': "a key twice",
    '"\\ud800"': "half a character",
    '"\ud800"': "half a character",
    "1 2": "is not JSON",
}


@pytest.mark.parametrize(
    "inner", REFUSED, ids=[f"{words} {place}" for place, words in enumerate(REFUSED.values())]
)
def test_what_is_no_json_is_none_for_all_who_read_it(tmp_path, inner):
    text = f'{{"price": {inner}}}'
    with pytest.raises(NotJson, match=REFUSED[inner]):
        json_of(inner)
    task = task_of(config_of(tmp_path, "extract", json_schema=NUMBER))
    assert task.read(text) is None
    assert task.refusal(text).endswith(
        refusal(Task(kind="extract", json_schema=NUMBER), text).split(": ")[-1]
    )
    assert _value(text) is None
    assert valid_json(text, "") == schema_rule(NUMBER)(text, "") == 0
    assert exact(text, text + " ") == 1
    assert exact(text, '{"price": 1}') == field_f1(text, '{"price": 1}') == 0


def test_numbers_without_end_are_not_the_same():
    assert exact("[1e999]", "[1e998]") == field_f1("[1e999]", "[1e998]") == 0


@pytest.mark.parametrize(
    "text", ["1e308", "-0.0", "9" * 308, "[" * 64 + "]" * 64, '"é\\ud83d\\ude00"', "null", "  true "]
)
def test_what_is_json_is_read(text):
    assert json_of(text) == json.loads(text)


VALUES = [
    0, -0.0, False, "", None, [], {}, 1, 1.0, True, "1", [1], [1.0], [[1]], {"a": 1, "b": [2.0]}, {"a": 1},
    {"b": [2], "a": 1.0}, 10**16, 1e16, 1e300, int(1e300), 0.1, 2**53 + 1, float(2**53),
]  # fmt: skip


@pytest.mark.parametrize("one", VALUES, ids=repr)
def test_equal_values_have_one_text(one):
    for other in VALUES:
        assert (canonical(one) == canonical(other)) == same_value(one, other), other
