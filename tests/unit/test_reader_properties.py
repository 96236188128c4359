"""Properties of the reader: equal rows in any form, everything accounted for, no input makes it crash."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.config import load_config
from pipelines.core.errors import InputError
from pipelines.data.accounts import Account, reasons_of_nothing
from pipelines.data.delivered import read_delivery
from pipelines.data.intake import Intake
from pipelines.data.lake import Lake, connect
from pipelines.data.reader.feedback import Told
from pipelines.data.row_reader import RowReader
from pipelines.data.separate_feedback import load_feedback
from tests.support.fuzz import examples
from tests.support.logs import DEMO, NIGHT, PACKERS, as_array, as_csv, as_jsonl, read, write_parquet
from tests.support.odd_logs import MIXED, ODD, ROWS, lines_of, whole

TRIES = settings(max_examples=examples())


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
@settings(max_examples=examples())
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
    told = [Told(f"r-{n}", 1, opt_out=n == 1) for n in range(feedback_rows)]
    try:
        found = read_delivery(str(source), config.ingest, RowReader(config, NIGHT), folder)
    except InputError:
        return
    with connect(64, folder) as connection:
        withdrawn = load_feedback(told, folder / "feedback.parquet", connection).withdrawn
        intake = Intake(connection, found.typed, found.opt_out_if_silent)
        intake.classify(NIGHT, 3, Lake(str(folder / "lake"), 64))
        account = Account(intake.accounting(), intake.accounting_by_file(), found.names)
        assert account.read == sum(one.rows for one in found.seen) == sum(one.read for one in account.by_file)
        assert account.read == account.kept + account.quarantined + account.dropped
        assert [one.rows for one in found.seen] == [one.read for one in account.by_file]
        assert intake.write_kept(folder / "rows.parquet") == account.kept
        assert intake.write_quarantined(folder / "bad.parquet", found.names) == account.quarantined
        names = pq.read_table(folder / "rows.parquet")["request_id"].to_pylist()
        assert len(set(names)) == len(names) == account.kept
        assert sum(intake.feedback_fates().values()) + withdrawn == feedback_rows
        assert account.kept or reasons_of_nothing(account, intake)
