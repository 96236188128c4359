"""JSON that is nested too deeply costs its own row, and never the file."""

import json

import pytest

from pipelines.cli.main import main
from pipelines.core.json_texts import MAX_DEPTH
from tests.support.logs import read

ROW = {
    "request_id": "r",
    "ts": "2026-01-03T08:00:00Z",
    "prompt": "Where is the ward?",
    "completion": "On the second floor.",
}
TOO_DEEP = "JSON that is nested too deeply"
DEPTHS = (MAX_DEPTH + 1, 300, 600, 850)  # from about 900 on it depends on who calls
BESIDE = {"alone": "", "a twin": ', "x": 1, "x": 2', "half a character": ', "x": "\\ud800"'}
NESTED = {"lists": ("[", "]"), "objects": ('{"a":', "}")}
FORMS = {"lines": "{}\n{}\n", "an array": "[{},\n{}]\n", "an object of data": '{{"data": [{}, {}]}}'}


def nested(depth, kind="lists"):
    opener, closer = NESTED[kind]
    return opener * depth + "1" + closer * depth


def row_of(deep, beside=""):
    return f'{json.dumps(ROW)[:-1]}, "meta": {deep}{beside}}}'


def faults(folder, text):
    (folder / "log.json").write_text(text)
    return [row.fault for row in read(folder / "log.json")[0]]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE.keys())
@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deep_row_costs_itself(tmp_path, form, beside, kind, depth):
    text = form.format(row_of(nested(depth, kind), beside), json.dumps(ROW))
    assert faults(tmp_path, text) == [TOO_DEEP, None]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_row_of_many_objects_is_not_deep(tmp_path, form):
    wide = row_of(f"[{nested(MAX_DEPTH - 3)}, {nested(MAX_DEPTH - 3)}]")
    assert faults(tmp_path, form.format(wide, json.dumps(ROW))) == [None, None]


@pytest.mark.parametrize("rest", [nested(2_000), "[" * 9, "x"], ids=["too deep", "cut off", "no JSON"])
def test_what_follows_a_twin_may_be_anything(tmp_path, rest):
    twins = '{"a": {"b": 1, "b": 2}, "c": ' + rest + "}"
    first, second = faults(tmp_path, f"{twins}\n{json.dumps(ROW)}\n")
    assert first == (TOO_DEEP if rest.endswith("]") else "not JSON")
    assert second is None


def test_a_line_that_is_no_object_is_told_of_as_such(tmp_path):
    first, _ = faults(tmp_path, f'[{{"a": 1, "a": 2}}]\n{json.dumps(ROW)}\n')
    assert first == "not a JSON object, but a list"


def inspected(folder, capsys, column, value):
    row = json.dumps({key: one for key, one in ROW.items() if key != column})
    others = [json.dumps(ROW | {"request_id": f"r-{number}"}) for number in range(9)]
    (folder / "log.jsonl").write_text("\n".join([f'{row[:-1]}, "{column}": {value}}}', *others]))
    assert main(["inspect", str(folder / "log.jsonl"), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


COLUMNS = ("meta", "messages", "tools", "completion", "correction", "prompt")


@pytest.mark.parametrize("column", COLUMNS)
def test_inspect_leaves_a_deep_row_out(tmp_path, capsys, column):
    assert inspected(tmp_path, capsys, column, nested(900))["kept"] == 9


@pytest.mark.parametrize("more", ["", "\ud800"], ids=["a text", "half a character"])
@pytest.mark.parametrize("column", COLUMNS)
def test_inspect_reads_on_after_a_text_of_deep_json(tmp_path, capsys, column, more):
    assert inspected(tmp_path, capsys, column, json.dumps(nested(900) + more))["looked_at"]["rows"] == 10
