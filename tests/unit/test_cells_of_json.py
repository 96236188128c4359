"""JSON texts in the cells of a log: NaN is a missing value, and what nobody can read is told."""

import pytest

from pipelines.data.reader.mapping import opened
from pipelines.data.reader.turns import UnfitMessages, as_messages

ASKED = '[{"role": "user", "content": "Where to?", %s}]'


@pytest.mark.parametrize("extra", ['"name": NaN', '"tool_calls": NaN', '"score": Infinity', '"score": 1e400'])
def test_numbers_of_tables_cost_no_row(extra):
    (turn,) = as_messages(ASKED % extra)
    assert (turn["content"], turn["name"], turn["tool_calls"]) == ("Where to?", None, None)


@pytest.mark.parametrize(
    "extra", [f'"meta": {"[" * 300}{"]" * 300}', '"content": "twice"', '"name": "\\ud800"']
)
def test_what_is_no_clear_json_is_told(extra):
    with pytest.raises(UnfitMessages):
        as_messages(ASKED % extra)


def test_a_cell_that_is_no_json_stays_text():
    assert opened('{"score": NaN, "text": "x"}')["text"] == "x"
    assert opened("[" * 300) == "[" * 300
    assert opened("{not JSON") == "{not JSON"
