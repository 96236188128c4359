"""The one reader: what a file holds, in whatever format, and what a value means."""

import json
from datetime import UTC
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.config.columns import RatingScale
from pipelines.core.config.data import Ingest
from pipelines.core.errors import ConfigError, InputError
from pipelines.data.formats.chat import answer_of
from pipelines.data.reader import cells, json_rows
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.columns import unusable_columns
from pipelines.data.reader.conversation import split_answer
from pipelines.data.reader.files import rows_of_file
from pipelines.data.reader.ratings import Ratings
from pipelines.data.reader.strict_json import as_json
from pipelines.data.reader.times import as_time
from pipelines.data.reader.turns import UnfitMessages, as_messages
from tests.support.logs import PACKERS, as_array, as_csv, as_jsonl, at, read, write_parquet

ASKED = [{"role": "user", "content": "Which label?"}]
ROW = {"request_id": "r-1", "ts": "2026-01-03T08:00:00Z", "messages": ASKED, "completion": "first"}


def rows_of(tmp_path, rows, **settings):
    (tmp_path / "log.jsonl").write_bytes(as_jsonl(rows))
    return read(tmp_path / "log.jsonl", **settings)[0]


def one(tmp_path, values, **settings):
    (row,) = rows_of(tmp_path, [ROW | values], **settings)
    return row


FILES = {
    "log.jsonl": as_jsonl,
    "log.json": as_array,
    "log.csv": as_csv,
    "semicolon.csv": lambda rows: as_csv(rows, ";"),
    "log.tsv": lambda rows: as_csv(rows, "\t"),
    "bar": lambda rows: as_csv(rows, "|"),
    "bom.csv": lambda rows: as_csv(rows, encoding="utf-8-sig"),
    "excel.csv": lambda rows: as_csv(rows, ";", encoding="utf-16"),
    "utf16.csv": lambda rows: as_csv(rows, encoding="utf-16-le"),
    "part-00000": as_jsonl,
}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("name", FILES)
def test_every_form_says_the_same(tmp_path, name, packing):
    rows = [
        ROW | {"request_id": f"r-{n}", "completion": f"a\u2028b{n}\nc", "rating": n % 3 - 1} for n in range(5)
    ]
    path = tmp_path / f"{name}{packing}"
    path.write_bytes(PACKERS[packing](FILES[name](rows)))
    found, _ = read(path)
    assert [(r.fault, r.cells["request_id"], r.cells["completion"], r.cells["rating"]) for r in found] == [
        (None, f"r-{n}", f"a\u2028b{n}\nc", n % 3 - 1) for n in range(5)
    ]


def test_lines_end_at_a_line_feed_only(tmp_path):
    text = "one\u2028two\u2029three\x85four\x0bfive\x0csix\rseven"
    (tmp_path / "log.jsonl").write_bytes(b"\n \n" + as_jsonl([ROW | {"completion": text}]) + b"\r\n\n")
    found, _ = read(tmp_path / "log.jsonl")
    assert [row.cells["completion"] for row in found] == [text]


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("left", [0.5, 0.97])
def test_a_damaged_archive_is_refused(tmp_path, packing, left):
    packed = PACKERS[packing](as_jsonl([ROW | {"request_id": f"r-{n}"} for n in range(3_000)]))
    (tmp_path / "log").write_bytes(packed[: int(left * len(packed))])
    with pytest.raises(InputError, match="log is damaged"):
        read(tmp_path / "log")


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
def test_archives_one_after_the_other_are_one_file(tmp_path, packing):
    parts = [PACKERS[packing](as_jsonl([ROW | {"request_id": f"r-{n}"}])) for n in range(3)]
    (tmp_path / "log").write_bytes(b"".join(parts))
    assert [row.cells["request_id"] for row in read(tmp_path / "log")[0]] == ["r-0", "r-1", "r-2"]


def test_a_consent_that_stands_twice_is_none(tmp_path):
    line = json.dumps(ROW)[:-1]
    (tmp_path / "log.jsonl").write_text(
        f'{line}, "opt_out": true, "opt_out": false}}\n'
        f'{line}, "meta": {{"opt_out": true}}, "opt_out": false}}\n'
    )
    first, second = read(tmp_path / "log.jsonl")[0]
    assert (first.fault, second.fault) == ("a key that stands twice in one object", None)
    assert "withheld" in first.raw


def test_a_separator_that_excel_declares(tmp_path):
    (tmp_path / "log.csv").write_bytes(b"sep=;\r\n" + as_csv([ROW], ";"))
    assert [row.fault for row in read(tmp_path / "log.csv")[0]] == [None]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04 rest", "a zip archive or a spreadsheet"),
        (b"\x00\x01\x02" * 9, "binary data"),
        (b'[\n{"a": 1},\n', "is not JSON"),
        (b"a,a\n1,2\n", "has the column a twice"),
        (b'request_id,"messages\n1,2\n', "cannot be read as a CSV header"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, content, words):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read(tmp_path / "log")


def test_a_bad_csv_record_costs_itself(tmp_path):
    good = as_csv([ROW | {"request_id": f"r-{n}"} for n in range(6)]).decode().split("\r\n")
    lines = [*good[:2], 'r-x,"open', *good[2:4], "r-y,short", *good[4:6], 'r-z,"a"b,c,d', *good[6:]]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    found, _ = read(tmp_path / "log.csv")
    assert [row.cells["request_id"] for row in found if not row.fault] == [f"r-{n}" for n in range(6)]
    assert [row.fault for row in found if row.fault] == [
        "not CSV",
        "another number of cells than the header",
        "not CSV",
    ]


@pytest.mark.parametrize("missing", ["NaN", "NULL", "None", "nan", "", "NaT", "null"])
def test_a_word_for_nothing_is_nothing_in_typed_columns(tmp_path, missing):
    for value in (missing, float("nan"), None):
        row = one(tmp_path, {"rating": value, "tokens_in": value, "latency_ms": value, "feedback_ts": value})
        assert row.fault is None
        assert [row.cells[name] for name in ("rating", "tokens_in", "latency_ms", "feedback_ts")] == [
            None
        ] * 4


@pytest.mark.parametrize("word", ["None", "NULL", "nan"])
def test_a_label_that_reads_like_nothing_stays_text(tmp_path, word):
    row = one(tmp_path, {"completion": word, "correction": word})
    assert (row.cells["completion"], row.cells["correction"]) == (word, word)
    (tmp_path / "log.csv").write_text(
        f'request_id,messages,completion,correction\nr-1,{_json_cell()},"{word}",{word}\n'
        f'r-2,{_json_cell()},x,"{word}"\n'
    )
    (bare, quoted), _ = read(tmp_path / "log.csv")
    assert (bare.cells["completion"], bare.cells["correction"]) == (word, None)
    assert quoted.cells["correction"] == word
    (kept, _), _ = read(tmp_path / "log.csv", csv_nulls=[""])
    assert kept.cells["correction"] == word


def _json_cell():
    return '"' + json.dumps(ASKED).replace('"', '""') + '"'


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_correction_is_none(tmp_path, blank):
    row = one(tmp_path, {"rating": 1, "correction": blank})
    assert (row.fault, row.cells["correction"]) == (None, None)


TIMES = [
    "2026-01-03T08:00:00Z", "2026-01-03 08:00:00+00:00", "2026-01-03T09:00:00+01:00",
    "2026-01-03 08:00:00 UTC",
    "2026-01-03T08:00:00.000000000Z", 1767427200, 1767427200.0, 1767427200000, 1767427200000000,
    1767427200000000000, "1767427200000", "1767427200",
]  # fmt: skip


@pytest.mark.parametrize("written", TIMES, ids=str)
def test_times_in_every_form_are_the_same_instant(tmp_path, written):
    assert one(tmp_path, {"ts": written}).cells["ts"] == at(8)


@pytest.mark.parametrize("written", ["2026-01-03T08:00:00", "2026-01-03 08:00"])
@pytest.mark.parametrize(("zone", "hour"), [("UTC", 8), ("America/New_York", 13), ("Asia/Kolkata", 2)])
def test_a_time_without_a_zone_is_in_the_timezone(tmp_path, written, zone, hour):
    assert one(tmp_path, {"ts": written}, timezone=zone).cells["ts"].hour == hour


@pytest.mark.parametrize(
    ("hour", "day", "fault"), [(4, 3, None), (5, 3, None), (4, 4, None), (5, 4, "from the future")]
)
def test_a_night_ends_at_midnight_in_the_timezone(tmp_path, hour, day, fault):
    row = one(tmp_path, {"ts": at(hour, day).isoformat()}, timezone="America/New_York", late_days=1)
    assert row.fault == fault


@pytest.mark.parametrize("written", ["yesterday", "01/03/2026", True, [1], 1e30, "20260103T99"])
def test_what_is_no_time_is_refused(tmp_path, written):
    assert one(tmp_path, {"ts": written}).fault.startswith("ts is not a time, but")


@pytest.mark.parametrize(("value", "text"), [(17, "17"), (17.0, "17"), ("17", "17"), (2**70, str(2**70))])
def test_whole_numbers_become_ids(tmp_path, value, text):
    row = one(tmp_path, {"request_id": value, "subject_id": value})
    assert (row.cells["request_id"], row.cells["subject_id"]) == (text, text)


CONTENTS = {
    "text": ("hi", "hi"),
    "parts": ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
    "bare parts": (["a", "b"], "ab"),
    "parts of the Responses API": ([{"type": "input_text", "text": "a"}], "a"),
}


@pytest.mark.parametrize(("content", "text"), CONTENTS.values(), ids=CONTENTS)
def test_text_parts_are_joined(tmp_path, content, text):
    turns = [{"role": "developer", "content": "s"}, {"role": "user", "content": content}]
    row = one(tmp_path, {"messages": turns})
    assert [(turn["role"], turn["content"]) for turn in row.cells["messages"]] == [
        ("system", "s"),
        ("user", text),
    ]


@pytest.mark.parametrize("content", ["", None])
def test_tool_calls_are_kept_whatever_the_content(tmp_path, content):
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    turns = [
        {"role": "user", "content": "where?"},
        {"role": "assistant", "content": content, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "depot 4", "name": "find"},
    ]
    found = one(tmp_path, {"messages": turns, "tools": [{"type": "function"}]}).cells
    assert json.loads(found["messages"][1].pop("tool_calls")) == [call]
    assert found["messages"][1]["content"] == ""
    assert (found["messages"][2]["tool_call_id"], found["messages"][2]["name"]) == ("c1", "find")
    assert json.loads(found["tools"]) == [{"type": "function"}]


def test_a_conversation_that_ends_in_the_answer_is_split(tmp_path):
    talk = [*ASKED, {"role": "assistant", "content": "second"}]
    for given in ({"messages": talk, "completion": None}, {"messages": talk, "completion": "second"}):
        found = one(tmp_path, given).cells
        assert (len(found["messages"]), found["completion"]) == (1, "second")


def test_a_question_in_a_column_of_its_own(tmp_path):
    row = {"question": "Which?", "answer": "first"}
    (found,) = rows_of(tmp_path, [row], columns={"prompt": "question", "completion": "answer"})
    assert found.fault is None
    assert (found.cells["messages"][0]["content"], found.cells["completion"]) == ("Which?", "first")


def test_the_least_row_gets_every_default(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(as_jsonl([{"messages": ASKED, "completion": "first"}]))
    (row,), reader = read(tmp_path / "log.jsonl", defaults={"tenant": "acme"})
    plain = {name: value for name, value in row.cells.items() if value is not None and name != "messages"}
    assert plain == {
        "ts": at(12), "tenant": "acme", "completion": "first", "adapter": "unknown", "route": "production",
        "locale": "und", "channel": "unknown",
    }  # fmt: skip
    assert row.content_key.startswith("row-")
    assert reader.defaulted == dict.fromkeys(
        ("request_id", "ts", "tenant", "subject_id", "adapter", "route", "locale", "channel"), 1
    )


def test_feedback_does_not_rename_a_row(tmp_path):
    rows = [
        {"messages": ASKED, "completion": "first"},
        {"messages": ASKED, "completion": "first", "rating": 1},
    ]
    assert len({row.content_key for row in rows_of(tmp_path, rows)}) == 1


SCALES = {
    "stars": (
        {"good": [4, 5], "bad": [1, 2], "neutral": [3]},
        {5: 1, "4": 1, 4.0: 1, "1": -1, 3: 0, "": None},
    ),
    "thumbs": ({"good": ["up"], "bad": ["down"]}, {"up": 1, " UP ": 1, "Down": -1, "nan": None}),
    "booleans": ({"good": [True], "bad": [False]}, {True: 1, "true": 1, "False": -1}),
    "scores": ({"good_from": 0.7, "bad_to": 0.3}, {0.7: 1, "0.9": 1, 0.5: 0, 0.3: -1, 0: 0}),
}


@pytest.mark.parametrize(("scale", "values"), SCALES.values(), ids=SCALES)
def test_ratings_follow_the_scale(scale, values):
    ratings = Ratings(RatingScale(**scale))
    assert {value: ratings.read(value) for value in values} == values


@pytest.mark.parametrize("value", [True, "up", 5, [1], "1.5"])
def test_a_rating_outside_the_scale_is_refused(value):
    with pytest.raises(Unfit):
        Ratings(RatingScale()).read(value)


def test_a_column_deep_inside(tmp_path):
    deep = {
        "feedback": {"score": 1},
        "scores": [{"name": "thumbs", "value": -1}],
        "meta": '{"org": {"id": 7}}',
    }
    columns = {"rating": "feedback.score", "tenant": "meta.org.id"}
    found = one(tmp_path, deep, columns=columns).cells
    assert (found["rating"], found["tenant"]) == (1, "7")
    assert one(tmp_path, deep, columns={"rating": "scores.thumbs.value"}).cells["rating"] == -1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"columns": {"raiting": "x"}}, "did you mean rating"),
        ({"columns": {"rating": " "}}, "names no column"),
        ({"defaults": {"rating": "1"}}, "none of our columns"),
        ({"feedback_columns": {"stars": "x"}}, "none of our columns"),
        ({"timezone": "Berlin"}, "no IANA time zone"),
        ({"rating": {"good": [1], "bad": [1]}}, "two sides"),
        ({"rating": {"good_from": 3}}, "good_from and bad_to together"),
        ({"rating": {"good_from": 1, "bad_to": 2}}, "must be above"),
        ({"format": "excel"}, "format"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        rows_of(tmp_path, [ROW], **settings)


def test_parquet_of_foreign_types_is_read(tmp_path):
    table = pa.table(
        {
            "request_id": pa.array([1, 2]),
            "ts": pa.array([1767427200000000001, 2**62], pa.timestamp("ns")),
            "messages": pa.array([ASKED, ASKED]),
            "completion": pa.array(["a", "b"]).dictionary_encode(),
            "rating": pa.array([1.0, float("nan")]),
            "latency_ms": pa.array([1, 2], pa.decimal128(9, 2)),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    (first, second), _ = read(tmp_path / "log.parquet", late_days=1)
    assert (first.fault, first.cells["rating"], first.cells["latency_ms"]) == (None, 1, 1.0)
    assert (second.fault, second.cells["request_id"]) == ("from the future", "2")


def test_a_lone_surrogate_costs_its_row(tmp_path):
    lines = [json.dumps(ROW | {"completion": "\ud800"}).encode(), json.dumps(ROW).encode()]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines))
    assert [row.fault for row in read(tmp_path / "log.jsonl")[0]] == [
        "a lone surrogate, which is no character",
        None,
    ]
    escaped = json.dumps([{"role": "user", "content": "\ud800"}])
    assert one(tmp_path, {"messages": escaped}).fault == "messages is text that is not JSON"


def test_an_unreadable_consent_shows_nothing(tmp_path):
    row = one(tmp_path, {"opt_out": "maybe", "completion": "secret", "ts": "secret"})
    assert row.fault == "ts is not a time, but text"
    assert row.found == ""
    assert "secret" not in row.raw


def test_the_same_rows_in_parquet(tmp_path):
    write_parquet(tmp_path / "log.parquet", [ROW])
    assert read(tmp_path / "log.parquet")[0][0].cells == one(tmp_path, {}).cells


def read_all(tmp_path, text, name="log.json"):
    """The raw rows of a file with this text."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return list(rows_of_file(path, name, ()))


def test_a_lone_row_with_a_list_named_data_is_a_row(tmp_path):
    row = {"request_id": "a", "prompt": "q", "completion": "c", "data": [{"x": 1}, {"x": 2}]}
    (only,) = read_all(tmp_path, json.dumps(row) + "\n")
    assert only.values == row
    assert len(read_all(tmp_path, json.dumps({"object": "list", "data": [row, row]}))) == 2


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_that_is_too_long_costs_only_itself(tmp_path, monkeypatch, place):
    monkeypatch.setattr(json_rows, "MAX_LINE", 200)
    lines = [json.dumps({"request_id": str(n)}) for n in range(4)]
    lines.insert(place, json.dumps({"request_id": "x" * 900}))
    found = read_all(tmp_path, "\n".join(lines) + "\n", "log.jsonl")
    assert [row.values is None for row in found] == [n == place for n in range(5)]


def test_a_blank_id_is_no_id():
    assert [cells.as_id(value) for value in ("", "  ", " A1 ", 7)] == [None, None, "A1", "7"]


def test_an_answer_with_a_tool_call_is_its_calls():
    asked = {"role": "user", "content": "q"}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    def answer(content, calls, completion=None):
        said = {"role": "assistant", "content": content, "tool_calls": calls}
        turns, text = split_answer(as_messages([asked, said]), completion)
        assert [turn["content"] for turn in turns] == ["q"]
        return json.loads(text)

    calls = [{"name": "f", "arguments": {}}]
    both = {"content": "Let me look that up.", "tool_calls": calls}
    assert answer(None, [call]) == answer("", [call], "") == calls
    assert answer(both["content"], [call]) == answer(both["content"], [call], both["content"]) == both
    with pytest.raises(UnfitMessages, match="tool call that cannot be read"):
        answer("", [{"id": "1"}])
    assert isinstance(
        answer_of({"content": [{"type": "text", "text": "x"}, {"type": "tool_use"}]}), UnfitMessages
    )


TIMES = {
    "20260103": 0, 20260103: 0, "2026/01/03 08:00": 8, "2026-01-03 08:00:00 +0000 UTC": 8,
    "2026-01-03 08:00:00 UTC": 8, "Sat, 03 Jan 2026 08:00:00 GMT": 8, "3 Jan 2026 03:00 -0500": 8,
    "2026-01-03T08:00:00,000Z": 8, 1767427200: 8, "1767427200000": 8,
}  # fmt: skip
NO_TIMES = ["01/02/2026", "Jan 3, 2026 1:00 PM", "0001-01-01T00:00:00Z", "9999-12-31", "2026-13-01", 10**30]


@pytest.mark.parametrize("written", TIMES)
def test_a_time_is_read_in_the_forms_that_mean_one_time(written):
    assert as_time(written, UTC) == at(TIMES[written])


@pytest.mark.parametrize("written", NO_TIMES)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/New_York"])
def test_a_time_that_is_none_or_two_costs_its_row(tmp_path, written, zone):
    row = one(tmp_path, {"ts": written}, timezone=zone)
    assert (row.fault.partition(",")[0], row.found != "") == ("ts is not a time", True)


@pytest.mark.parametrize("written", ["123", "123.0", 123, 123.0, " 123 "])
def test_an_id_is_one_id_however_a_table_writes_it(tmp_path, written):
    assert one(tmp_path, {"request_id": written}).cells["request_id"] == "123"


@pytest.mark.parametrize("title", ["PK_ID", "ORC_id", "PAR1", "BZhello", "ARROW1", "Obj", "%PDF"])
def test_a_header_is_no_magic_number(tmp_path, title):
    (row,) = read_all(tmp_path, f"{title},prompt\n1,q\n", "log.csv")
    assert row.values == {title: "1", "prompt": "q"}


def test_a_header_in_the_middle_is_no_row(tmp_path):
    found = read_all(tmp_path, "a,b\n1,2\na,b\n3,4\n", "log.csv")
    assert [row.problem for row in found] == [None, "the header again", None]


def test_csv_may_have_spaces_before_its_quotes(tmp_path):
    (row,) = read_all(tmp_path, '"id", "prompt", "x"\n"1", "a, b", NULL\n', "log.csv")
    assert row.values == {"id": "1", "prompt": "a, b", "x": "NULL"}
    (row,) = rows_of_file(tmp_path / "log.csv", "log.csv", ("NULL",))
    assert row.values["x"] is None


@pytest.mark.parametrize("zone", ["America/Nowhere", "UTC+9", "+05:30"])
def test_parquet_may_name_any_time_zone(tmp_path, zone):
    moment = pa.array([1767427200_000], pa.timestamp("ms")).cast(pa.timestamp("ms", "UTC"))
    kind = pa.timestamp("ms", zone)
    table = pa.table({"ts": moment.view(kind), "messages": [ASKED], "completion": ["a"]})
    pq.write_table(table, tmp_path / "log.parquet")
    ((row,), _) = read(tmp_path / "log.parquet")
    assert (row.fault, row.cells["ts"]) == (None, at(8))


@pytest.mark.parametrize(
    ("prompt", "kind"), [(7, "a number"), (True, "true or false"), ({"q": 1}, "an object")]
)
def test_a_prompt_that_is_no_text_says_so(tmp_path, prompt, kind):
    (row,) = rows_of(tmp_path, [{"prompt": prompt, "completion": "a"}])
    assert row.fault == f"prompt is not text, but {kind}"


def test_what_the_parser_says_is_kept(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"a": 1}\n{"prompt": "q",}\n')
    row = read(tmp_path / "log.jsonl")[0][1]
    assert (row.fault, "line 1, character" in row.found) == ("not JSON", True)


def test_a_system_prompt_of_its_own_goes_before(tmp_path):
    system, turn = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "q"}
    for asked in ({"prompt": "q"}, {"messages": [turn]}, {"messages": [system, turn]}):
        (row,) = rows_of(tmp_path, [{"completion": "a", "system": "Be brief.", **asked}])
        assert [(t["role"], t["content"]) for t in row.cells["messages"]] == [
            ("system", "Be brief."),
            ("user", "q"),
        ]
    (row,) = rows_of(tmp_path, [{"completion": "a", "system": 5, "prompt": "q"}])
    assert row.fault == "messages has content that is a number, not text"


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        ("systemPrompt", {}),
        ("request.system", {"messages": "request.messages"}),
        ("body.instructions", {"prompt": "body.question"}),
    ],
)
def test_a_system_prompt_beside_the_question_is_not_ignored(path, columns):
    names = ["prompt", "completion", path.partition(".")[0]]
    (sentence,) = unusable_columns("a", names, Ingest(columns=columns), systems=[path])
    assert sentence == f'a has {path}. Write under [ingest.columns]: system = "{path}".'
    assert not unusable_columns("a", names, Ingest(columns={**columns, "system": path}), systems=[path])
    assert not unusable_columns("a", names, Ingest(columns=columns, ignore=[path]), systems=[path])
    assert not unusable_columns("a", names, Ingest(columns=columns), systems=["other.system"])


@pytest.mark.parametrize("form", [as_csv, as_jsonl])
def test_a_log_may_be_in_an_encoding_of_its_own(tmp_path, form):
    text = form([ROW | {"completion": "Ärzte – Nähe"}]).decode()
    (tmp_path / "log").write_bytes(text.encode("windows-1252"))
    (row,), _ = read(tmp_path / "log", encoding="windows-1252")
    assert (row.fault, row.cells["completion"]) == (None, "Ärzte – Nähe")
    assert [row.fault for row in read(tmp_path / "log")[0]] == ["not UTF-8"]


def test_a_wrong_encoding_is_named(tmp_path):
    (tmp_path / "log.csv").write_bytes(b"prompt,completion\nq,\x81\n")
    with pytest.raises(InputError, match=r"log\.csv is not windows-1252: .*\. Correct ingest\.encoding"):
        read(tmp_path / "log.csv", encoding="windows-1252")
    with pytest.raises(ConfigError, match="'klingon' is no encoding of text"):
        read(tmp_path / "log.csv", encoding="klingon")


@pytest.mark.parametrize("form", ["list of structs", "list of maps", "bytes"])
def test_parquet_of_spark_is_read(tmp_path, form):
    turn = {"role": "user", "content": "q"}
    kinds = {
        "list of structs": pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        "list of maps": pa.list_(pa.map_(pa.string(), pa.string())),
        "bytes": pa.binary(),
    }
    value = (
        json.dumps([turn]).encode() if form == "bytes" else [turn if "structs" in form else [*turn.items()]]
    )
    table = pa.table({"messages": pa.array([value], kinds[form]), "completion": [b"a"]})
    pq.write_table(table, tmp_path / "log.parquet")
    ((row,), _) = read(tmp_path / "log.parquet")
    assert (row.fault, row.cells["messages"][0]["content"], row.cells["completion"]) == (None, "q", "a")


def test_a_map_in_parquet_is_an_object(tmp_path):
    meta = pa.array([[("opt_out", "true")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(
        pa.table({"messages": [ASKED], "completion": ["a"], "meta": meta}), tmp_path / "log.parquet"
    )
    ((row,), _) = read(tmp_path / "log.parquet", columns={"opt_out": "meta.opt_out"})
    assert row.cells["opt_out"] is True


def test_tools_of_a_table_become_json(tmp_path):
    since = pa.struct([("name", pa.string()), ("since", pa.timestamp("us"))])
    tools = pa.array([[{"name": "f", "since": None}]], pa.list_(since))
    pq.write_table(
        pa.table({"messages": [ASKED], "completion": ["a"], "tools": tools}), tmp_path / "log.parquet"
    )
    ((row,), _) = read(tmp_path / "log.parquet")
    assert json.loads(row.cells["tools"]) == [{"name": "f", "since": None}]
    moment, amount = at(8), Decimal("1.5")
    assert json.loads(as_json([moment, amount])) == [str(moment), "1.5"]
    with pytest.raises(Unfit):
        as_json([float("nan")])


@pytest.mark.parametrize("written", [9007199254740992.0, "1.23457E+15"])
def test_an_id_that_lost_digits_is_refused(tmp_path, written):
    row = one(tmp_path, {"request_id": written})
    assert row.fault == "request_id is not text, but a number that lost digits"


@pytest.mark.parametrize("written", ["nan", "None", "null", "<NA>"])
def test_a_word_for_nothing_is_no_id(tmp_path, written):
    row = one(tmp_path, {"request_id": written, "subject_id": written})
    assert (row.fault, row.cells["request_id"], row.cells["subject_id"]) == (None, None, None)


@pytest.mark.parametrize("written", [1.0, "1.0", Decimal(1), "yes"])
def test_a_consent_is_read_as_tables_write_it(written):
    assert cells.as_bool(written) is True


@pytest.mark.parametrize("completion", ["first\n", "", None])
def test_an_answer_that_also_ends_the_messages_stands_once(tmp_path, completion):
    talk = [*ASKED, {"role": "assistant", "content": "first"}]
    row = one(tmp_path, {"messages": talk, "completion": completion})
    assert (len(row.cells["messages"]), row.cells["completion"]) == (1, "first")


def test_messages_and_a_prompt_must_say_the_same(tmp_path):
    assert one(tmp_path, {"prompt": "Which label?"}).fault is None
    assert one(tmp_path, {"prompt": "And now?"}).fault == "messages and prompt say different things"


@pytest.mark.parametrize("name", ["images", "attachments", "toolCalls", "documents"])
def test_what_stands_beside_a_content_refuses_its_row(tmp_path, name):
    row = one(tmp_path, {"messages": [{**ASKED[0], name: ["x"]}]})
    assert row.fault == f"messages holds {name} beside the content"
    assert one(tmp_path, {"messages": [{**ASKED[0], name: []}]}).fault is None


def test_a_column_beside_the_same_in_another_spelling_is_not_ignored():
    columns = ["messages", "completion", "rating", "Rating", "chatHistory"]
    beside, history = unusable_columns("a", columns, Ingest())
    assert beside.startswith("a has Rating beside rating, and nothing reads it.")
    assert history.startswith("a has chatHistory, which the model saw if it holds earlier turns.")
    assert not unusable_columns("a", columns, Ingest(ignore=["Rating", "chatHistory"]))
