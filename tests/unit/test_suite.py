"""The frozen suite: read by one rule, refused with its line, known by what it asks."""

from __future__ import annotations

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.config import Config, Evaluate, Task
from pipelines.core.errors import InputError
from pipelines.evaluation.suite import check_suite, suite_digest, suite_file_digest, suite_items
from pipelines.models.rendering import Rendering
from tests.support.templates import HERMES, MISTRAL, tokenizer_with


def item(text, answer="first", **more):
    return {"messages": [{"role": "user", "content": text}], "answer": answer, **more}


def config_at(home, *items, text=None):
    (home / "suite.jsonl").write_text(
        "".join(json.dumps(one) + "\n" for one in items) if text is None else text, encoding="utf-8"
    )
    return Config(
        profile="test",
        home=str(home),
        task={"labels": ["first", "second"]},
        evaluate={"suite": "{home}/suite.jsonl"},
    )


def test_what_an_item_leaves_out_gets_a_default(tmp_path):
    (found,) = suite_items(config_at(tmp_path, item("Which?")))
    assert {found[name] for name in ("subject", "tenant", "locale", "channel")} == {"all"}
    assert found["id"].startswith("item-")


@pytest.mark.parametrize("answer", ["First", " first ", "FIRST.", "ｆｉｒｓｔ"])
def test_an_answer_is_spelled_as_the_task_spells_it(tmp_path, answer):
    assert suite_items(config_at(tmp_path, item("Which?", answer)))[0]["answer"] == "first"


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_line_feed_ends_an_item(tmp_path, mark):
    rows = (json.dumps(item(f"{text}{mark} Which?"), ensure_ascii=False) for text in "ab")
    found = suite_items(config_at(tmp_path, text="\n".join(rows)))
    assert [one["messages"][0]["content"] for one in found] == [f"{text}{mark} Which?" for text in "ab"]


def test_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path):
    text = "\ufeff\n" + json.dumps(item("Which?")) + "\r\n\n   \n" + json.dumps(item("What?")) + "\n\n"
    assert len(suite_items(config_at(tmp_path, text=text))) == 2


@pytest.mark.parametrize(
    ("third", "words"),
    [
        ("{", "Line 3 .* cannot be read: not JSON"),
        ("[1]", "Line 3 .* cannot be read: not a JSON object"),
        (json.dumps({"answer": "first"}), "Line 3 .* has no messages"),
        (json.dumps(item("Which?") | {"messages": []}), "Line 3 .* has no messages"),
        (json.dumps(item("Which?") | {"messages": ["Which?"]}), "Line 3 .* in place of a message"),
        (json.dumps({"messages": [{"role": "narrator", "content": "a"}]}), "Line 3 .* unknown role"),
        (json.dumps(item(None)), "Line 3 .* without content"),
        (json.dumps(item([{"type": "image_url"}])), "Line 3 .* holds an image"),
        (json.dumps(item("  ")), "Line 3 .* no user asks"),
        (json.dumps({"messages": [{"role": "system", "content": "a"}]}), "Line 3 .* no user asks"),
        (json.dumps(item("Which?", None)), "Line 3 .* no answer"),
        (json.dumps(item("Which?", "third")), "Line 3 .* 'third' is none of task.labels"),
        (json.dumps(item("what ?")), "Line 1 and line 3 .* ask the same"),
        (json.dumps(item("What?", "second")), "Line 1 and line 3 .* ask the same"),
    ],
)
def test_an_item_that_cannot_be_used_is_refused_by_its_line(tmp_path, third, words):
    config = config_at(tmp_path, text=json.dumps(item("What?")) + "\n\n" + third + "\n")
    with pytest.raises(InputError, match=words):
        suite_items(config)


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff"])
def test_a_suite_without_items_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="has no items"):
        suite_items(config_at(tmp_path, text=text))


def test_a_suite_that_is_not_utf_8_is_refused(tmp_path):
    config = config_at(tmp_path, item("Which?"))
    (tmp_path / "suite.jsonl").write_bytes(json.dumps(item("Wélche?"), ensure_ascii=False).encode("latin-1"))
    with pytest.raises(InputError, match=r"Line 1 .* not UTF-8"):
        suite_items(config)


def test_a_suite_is_known_by_what_it_asks(tmp_path):
    config = config_at(tmp_path, item("What?"), item("Which?", "second"))
    before = suite_digest(config), suite_file_digest(config)
    config_at(
        tmp_path,
        text=json.dumps(item("Which?", "Second", id=7, subject="s")) + "\n\n" + json.dumps(item("what")),
    )
    assert suite_digest(config) == before[0]
    assert suite_file_digest(config) != before[1]
    config_at(tmp_path, item("What?", "second"), item("Which?", "second"))
    assert suite_digest(config) != before[0]


def test_an_item_that_cannot_be_asked_is_refused_by_its_line(tmp_path):
    rendering = Rendering(tokenizer_with(MISTRAL), "", 60)
    assert len(check_suite(config_at(tmp_path, item("What?"), item("Which?")), rendering.prompt)) == 2
    config = config_at(tmp_path, item("What?"), item("What? " * 20))
    with pytest.raises(
        InputError, match=r"Line 2 .* cannot be asked: the system prompt and the last turn take"
    ):
        check_suite(config, rendering.prompt)
    twice = {"messages": item("What?")["messages"] * 2, "answer": "first"}
    with pytest.raises(InputError, match=r"Line 1 .* cannot be asked: the base model's chat template"):
        check_suite(config_at(tmp_path, twice), rendering.prompt)


ITEMS = [item("What?", tenant="south"), item("Which, or none?", "second", tenant="north")]


def written(items, form, path):
    """The items in this form; returns the path."""
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(items), path)
    elif form == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["messages", "answer", "tenant"])
            writer.writeheader()
            writer.writerows({**one, "messages": json.dumps(one["messages"])} for one in items)
    elif form == "json":
        path.write_text(json.dumps(items, indent=1), encoding="utf-8")
    else:
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, items)).encode()))
    return path


@pytest.mark.parametrize("form", ["parquet", "csv", "json", "jsonl.gz"])
def test_a_suite_may_have_any_form_of_a_log(tmp_path, form):
    plain = config_at(tmp_path, *ITEMS)
    path = written(ITEMS, form, tmp_path / f"suite.{form}")
    config = plain.model_copy(update={"evaluate": Evaluate(suite=str(path))})
    assert [one["answer"] for one in suite_items(config)] == ["first", "second"]
    assert [one["tenant"] for one in suite_items(config)] == ["south", "north"]
    assert suite_digest(config) == suite_digest(plain)
    written([*ITEMS, item("Who?", "third", tenant="south")], form, path)
    with pytest.raises(InputError, match=r"(Line|Item) 3 .* 'third' is none of task\.labels"):
        suite_items(config)


def test_an_item_is_asked_without_its_answer(tmp_path):
    """A log's conversation ends in the answer: asked with it, the model would read what it has to say."""
    turns = [{"role": "user", "content": "Which?"}, {"role": "assistant", "content": "First"}]
    (found,) = suite_items(config_at(tmp_path, {"messages": turns, "answer": "first"}))
    assert found["messages"] == turns[:1]
    with pytest.raises(InputError, match="assistant turn that is not its answer"):
        suite_items(config_at(tmp_path, {"messages": turns, "answer": "second"}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"answer": True}, "no answer .it is true or false: True"),
        ({"answer": None}, "no answer .it is null"),
        ({"answer": ["first"]}, "no answer .it is a list"),
        ({"answer": float("nan")}, "no answer .it is a number: nan"),
        ({"answer": 3}, "'3' is none of task.labels"),
        ({"answer": " "}, "no answer .it is blank"),
        ({"label": "first"}, "no answer .its columns are messages, label"),
        ({"answer": "first", "tenant": ["a"]}, "its tenant is a list"),
        ({"answer": "first", "id": {"a": 1}}, "its id is an object"),
        ({"answer": "first", "tools": "search"}, "its tools are text that is not JSON"),
    ],
)
def test_a_value_of_another_kind_is_refused_as_found(tmp_path, values, words):
    config = config_at(tmp_path, {"messages": item("Which?")["messages"], **values})
    with pytest.raises(InputError, match=f"Line 1 .* cannot be used: .*{words}"):
        suite_items(config)


TOOLS = [{"type": "function", "function": {"name": "search"}}]
CALLS = [{"name": "search", "arguments": {"q": "a"}}]


def test_an_item_with_tools_is_asked_with_them(tmp_path):
    written = [{"function": {"name": "search", "arguments": '{"q": "a"}'}}]
    items = [
        item("Which?", CALLS, tools=TOOLS),
        item("Which?", json.dumps(written), tools=json.dumps(TOOLS)) | {"id": "b"},
    ]
    config = config_at(tmp_path, items[0])
    config = config.model_copy(update={"task": Task(kind="generate")})
    (found,) = suite_items(config)
    assert found["messages"][0]["role"] == "tools"
    assert json.loads(found["answer"]) == CALLS
    (tmp_path / "suite.jsonl").write_text("\n".join(map(json.dumps, items)))
    with pytest.raises(InputError, match="ask the same"):
        suite_items(config)


def test_an_item_with_tools_needs_a_base_that_takes_them(tmp_path):
    config = config_at(tmp_path, item("Which?", tools=TOOLS))
    for template, takes in ((HERMES, True), (MISTRAL, False)):
        rendering = Rendering(tokenizer_with(template), "", 2_000)
        if takes:
            assert check_suite(config, rendering.prompt)
        else:
            with pytest.raises(InputError, match="leaves out the tools"):
                check_suite(config, rendering.prompt)


@pytest.mark.parametrize("none", [None, "", [], "[]", "null", float("nan")])
def test_no_tools_are_none_however_they_are_written(tmp_path, none):
    (found,) = suite_items(config_at(tmp_path, item("Which?", tools=none)))
    assert "tools" not in found


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "all"),
        (float("nan"), "all"),
        ("  ", "all"),
        (0, "0"),
        (2.5, "2.5"),
        (" x ", "x"),
        (False, "false"),
    ],
)
def test_a_slice_has_one_name_however_it_is_written(tmp_path, value, name):
    (found,) = suite_items(config_at(tmp_path, item("Which?", subject=value)))
    assert found["subject"] == name


@pytest.mark.parametrize("twins", [("x", "x"), ("x", " x "), (1, "1"), (1.0, 1)])
def test_an_id_belongs_to_one_item(tmp_path, twins):
    config = config_at(tmp_path, *(item(f"Which {n}?", id=name) for n, name in enumerate(twins)))
    with pytest.raises(InputError, match=r"Line 1 and line 2 .* have the same id"):
        suite_items(config)


@pytest.mark.parametrize("label", ["None", "NULL", "nan", "N/A"])
def test_a_label_may_be_a_word_for_nothing(tmp_path, label):
    path = tmp_path / "suite.csv"
    path.write_text(f'messages,answer\n"[{{""role"": ""user"", ""content"": ""a""}}]",{label}\n')
    config = Config(
        profile="test", home=str(tmp_path), task={"labels": [label, "second"]}, evaluate={"suite": str(path)}
    )
    assert [one["answer"] for one in suite_items(config)] == [label]


def test_every_item_that_cannot_be_used_is_named_at_once(tmp_path):
    rows = [item("a", "third"), item("b"), item("b", "second"), item("c", None), {"answer": "first"}]
    config = config_at(tmp_path, text="\n".join(map(json.dumps, rows)) + "\n{\n")
    with pytest.raises(InputError) as raised:
        suite_items(config)
    said = raised.value.problem
    assert said.startswith("5 items of the evaluation suite")
    for words in ("line 1 cannot", "line 2 and line 3 ask the same and answer 'first' and 'second'",
                  "line 4 cannot", "line 5 cannot", "line 6 cannot be read"):  # fmt: skip
        assert words in said


def test_a_suite_of_faults_lists_the_first_ones(tmp_path):
    config = config_at(tmp_path, *(item(f"{n}?", "third") for n in range(500)))
    with pytest.raises(InputError, match=r"500 items .*; and 480 more"):
        suite_items(config)


@pytest.mark.parametrize(
    ("kind", "remedy"), [("sample", "nightshift prepare"), ("files", "nightshift suite propose")]
)
def test_a_profile_without_a_suite_is_told_how_to_get_one(tmp_path, kind, remedy):
    config = Config(
        profile="test",
        home=str(tmp_path),
        task={"labels": ["first"]},
        register={"name": "mine"},
        ingest={"kind": kind, **({} if kind == "sample" else {"source": "logs/*.jsonl"})},
    )
    with pytest.raises(InputError, match=rf"no evaluation suite .*{remedy}"):
        suite_items(config)


def test_a_file_that_is_no_suite_is_refused_as_such(tmp_path):
    config = config_at(tmp_path, item("Which?"))
    (tmp_path / "suite.jsonl").write_bytes(b"\x00\x01\x02")
    with pytest.raises(
        InputError, match=r"evaluation suite .* cannot be read: .* binary .* Write it as JSON lines"
    ):
        suite_items(config)
