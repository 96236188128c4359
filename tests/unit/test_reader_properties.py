"""Properties of the reader: equal rows in any form, everything accounted for, no input makes it crash."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.config import load_config
from pipelines.core.errors import InputError
from pipelines.data.accounts import Account, reasons_of_nothing
from pipelines.data.intake import FEEDBACK, Intake
from pipelines.data.lake import Lake, connect
from pipelines.data.reader.delivered import read_delivery
from pipelines.data.reader.rows import RowReader
from tests.support.fuzz import examples
from tests.support.logs import DEMO, NIGHT, PACKERS, as_array, as_csv, as_jsonl, read, write_parquet

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORDS = st.sampled_from(["None", "NULL", "", " ", '"', ",", "a\nb", "\u2028", "\x85", "\r", "first"]) | TEXT
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": WORDS}),
    max_size=3,
)
LIKELY = st.fixed_dictionaries(
    {"messages": TURNS, "completion": st.none() | WORDS},
    optional={
        "request_id": st.none() | st.sampled_from(["r-1", "r-2"]) | TEXT,
        "ts": st.none() | st.datetimes().map(str) | st.integers(1767400000, 1767500000).map(str),
        "tenant": st.none() | TEXT,
        "rating": st.none() | st.integers(-2, 2),
        "correction": st.none() | WORDS,
        "tokens_in": st.none() | st.integers(-5, 2**33),
        "latency_ms": st.none() | st.floats(allow_nan=True, allow_infinity=False),
        "opt_out": st.none() | st.booleans(),
        "conversation_id": st.none() | TEXT,
    },
)
ROWS = st.lists(LIKELY, min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["request_id", "ts", "messages", "completion", "rating", "opt_out", "tools", "prompt", "feedback_ts", "x"]
)
ODD = st.lists(st.dictionaries(NAMES, VALUES, max_size=6), max_size=5)
TRIES = settings(max_examples=examples())


def whole(rows):
    """Rows that all have the same keys, as a table does."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def sameness(rows):
    """What ingest makes of rows, without what quarantine shows of them."""
    return [(row.fault, None if row.fault else row.cells, row.content_key) for row in rows]


@TRIES
@given(ROWS, st.sampled_from(list(PACKERS)), st.sampled_from([",", ";", "\t", "|"]))
def test_the_same_rows_in_any_form_are_the_same(rows, packing, separator):
    rows = whole(rows)
    pack = PACKERS[packing]
    with TemporaryDirectory() as folder:
        files = {
            f"a.jsonl{packing}": pack(as_jsonl(rows)),
            f"a.json{packing}": pack(as_array(rows)),
            f"a.csv{packing}": pack(as_csv(rows, separator)),
        }
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        write_parquet(Path(folder) / "a.parquet", rows)
        first, *others = [sameness(read(Path(folder) / name)[0]) for name in [*files, "a.parquet"]]
    for other in others:
        assert other == first


@TRIES
@given(ODD)
def test_odd_values_cost_their_rows(rows):
    with TemporaryDirectory() as folder:
        content = json.dumps(rows).encode() if len(rows) > 3 else lines_of(rows)
        (Path(folder) / "a.jsonl").write_bytes(content)
        found, _ = read(Path(folder) / "a.jsonl")
    assert len(found) == len(rows)


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


HEADS = [b"", b"messages,completion\n", b'{"messages": [', b"[", b"PAR1", b"\x1f\x8b\x08", b"BZh9",
         b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\xff\xfe", b"\xef\xbb\xbf", b"a;b\n\""]  # fmt: skip
BYTES = st.builds(lambda head, rest: head + rest, st.sampled_from(HEADS), st.binary(max_size=200))
MIXED = st.lists(
    BYTES | ROWS.map(as_jsonl) | ROWS.map(lambda rows: as_csv(whole(rows))) | ODD.map(lines_of),
    min_size=1,
    max_size=3,
)


@TRIES
@given(MIXED)
def test_any_bytes_are_read_or_refused(contents):
    with TemporaryDirectory() as folder:
        for number, content in enumerate(contents):
            (Path(folder) / f"part-{number}").write_bytes(content)
            with suppress(InputError):
                read(Path(folder) / f"part-{number}")


@TRIES
@given(ROWS, st.integers(0, 2000), st.integers(0, 255))
def test_a_flipped_byte_of_parquet_is_no_crash(rows, place, byte):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        write_parquet(path, whole(rows))
        content = bytearray(path.read_bytes())
        content[place % len(content)] = byte
        path.write_bytes(content)
        with suppress(InputError):
            read(path)


@pytest.mark.slow
@settings(max_examples=examples() // 3)  # each opens a database
@given(MIXED, st.integers(0, 3))
def test_everything_that_goes_in_is_accounted_for(contents, feedback_rows):
    with TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        source.mkdir()
        for number, content in enumerate(contents):
            (source / f"part-{number}").write_bytes(content)
        account_for(Path(folder), source, feedback_rows)


def account_for(folder, source, feedback_rows):
    config = load_config(DEMO, folder)
    feedback = pa.Table.from_pylist(
        [{"request_id": f"r-{n}", "rating": 1} for n in range(feedback_rows)], FEEDBACK
    )
    try:
        found = read_delivery(str(source), config.ingest, RowReader(config, NIGHT), folder)
    except InputError:
        return
    with connect(64, folder) as connection:
        intake = Intake(connection, found.typed, feedback)
        intake.classify(NIGHT, 3, Lake(str(folder / "lake"), 64))
        account = Account(intake.accounting(), intake.accounting_by_file(), found.names)
        assert account.read == sum(one.rows for one in found.seen) == sum(one.read for one in account.by_file)
        assert account.read == account.kept + account.quarantined + account.dropped
        assert [one.rows for one in found.seen] == [one.read for one in account.by_file]
        assert intake.write_kept(folder / "rows.parquet") == account.kept
        assert intake.write_quarantined(folder / "bad.parquet", found.names) == account.quarantined
        names = pq.read_table(folder / "rows.parquet")["request_id"].to_pylist()
        assert len(set(names)) == len(names) == account.kept
        assert sum(intake.feedback_fates().values()) == feedback_rows
        assert account.kept or reasons_of_nothing(account, intake)
