"""Consent from the delivery to the lake: who said no, or did not say, is not learned from."""

import json
from datetime import date, timedelta

import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import InputError
from pipelines.data.lake import Lake
from pipelines.data.schema import rows_of
from tests.support.interactions import make_rows
from tests.support.nights import Night

NIGHT = date(2026, 1, 3)
SECRET = "my name is Quillon"


@pytest.fixture
def night(tmp_path):
    return Night(tmp_path, NIGHT, {"validate.min_rows": 1})


def rows(count, night=NIGHT, **changes):
    made = json.loads(json.dumps(make_rows(night, count, seed=night.day).to_pylist(), default=str))
    return [{**row, **changes} for row in made]


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


def deliver(night, records, name="log.jsonl"):
    night.folder.mkdir(parents=True, exist_ok=True)
    (night.folder / name).write_text("\n".join(map(json.dumps, records)))
    night.overrides["ingest.source"] = f"{night.folder}/*"


def account(manifest):
    return {one["reason"]: one["rows"] for one in manifest.facts["accounting"]}


def holds(folder, text):
    """The files of a folder in which a text stands."""
    for path in folder.rglob("*"):
        if path.is_file():
            parquet = path.suffix == ".parquet"
            content = str(pq.read_table(path).to_pylist()).encode() if parquet else path.read_bytes()
            if text.encode() in content:
                yield path


def test_a_row_that_says_nothing_among_rows_that_do_is_refused(night):
    silent, good = [without(row, "opt_out") for row in rows(6)], rows(12)[6:]
    silent[0]["completion"] = SECRET
    silent[1] |= {"completion": SECRET, "latency_ms": "fast"}  # another fault, and no consent either
    deliver(night, silent[:3])
    deliver(night, [*silent[3:], *good], "second.jsonl")
    manifest = night.run("ingest")
    assert account(manifest) == {
        "clean": 6,
        "opt_out is missing": 5,
        "latency_ms is not a finite number, but text": 1,
    }
    assert all("withheld" in json.loads(row["raw"]) for row in night.rows("ingest", "quarantine"))
    assert not list(holds(night.home / "runs", SECRET))
    night.overrides["ingest.opt_out_if_missing"] = False
    assert account(night.run("ingest"))["clean"] == 11


def test_a_log_without_consent_has_none_to_give(night):
    deliver(night, [without(row, "opt_out") for row in rows(6)])
    assert account(night.run("ingest")) == {"clean": 6}
    assert not any(row["opt_out"] for row in night.rows("ingest", "rows"))


@pytest.mark.parametrize("path", ["optedOut", "meta.doNotTrain", "meta.user.training_opt_out"])
def test_a_consent_that_nothing_reads_holds_the_night(night, path):
    def nested(value):
        for name in reversed(path.split(".")):
            value = {name: value}
        return value

    deliver(night, [without(row, "opt_out") | nested(place == 0) for place, row in enumerate(rows(6))])
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert f'Write opt_out = "{path}" under [ingest.columns]' in manifest.reasons[0]
    night.overrides["ingest.columns"] = {"opt_out": path}
    assert account(night.run("ingest")) == {"clean": 5, "opted out": 1}
    night.overrides |= {"ingest.columns": {}, "ingest.ignore": [path]}
    assert account(night.run("ingest")) == {"clean": 6}


def test_feedback_that_opts_out_removes_answers_of_any_night(night):
    before, lake = NIGHT - timedelta(days=1), Lake(str(night.home / "lake"), 256)
    old = make_rows(before, 4, seed=1)
    lake.publish(before, old)
    deliver(night, tonight := rows(6))
    gone = [old["request_id"][0].as_py(), tonight[0]["request_id"]]
    lines = [json.dumps({"request_id": one, "no_training": True, "rating": 1}) for one in gone]
    (night.home / "thumbs.jsonl").write_text("\n".join(lines))
    night.overrides["ingest.feedback"] = "{home}/thumbs.jsonl"
    held = night.run("ingest")
    assert held.verdict == "hold"
    assert 'Write opt_out = "no_training" under [ingest.feedback_columns]' in held.reasons[0]
    night.overrides["ingest.feedback_columns"] = {"opt_out": "no_training"}
    manifest = night.run("ingest")
    assert account(manifest) == {"clean": 5, "opted out": 1}
    assert (manifest.facts["feedback"]["withdrawn"], manifest.facts["opted_out"]) == (2, 2)
    night.run("validate")
    left = {row["request_id"] for row in rows_of(lake.interactions(before, NIGHT, NIGHT))}
    assert len(left) == 8
    assert not left & set(gone)


def test_feedback_in_another_spelling_holds(night):
    deliver(night, rows(6))
    (night.home / "thumbs.csv").write_text("request_id,Rating,correction\na,1,\n")
    night.overrides["ingest.feedback"] = "{home}/thumbs.csv"
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert manifest.reasons[0] == (
        'The feedback thumbs.csv has Rating. Write under [ingest.feedback_columns]: rating = "Rating".'
    )


def test_feedback_without_a_file_is_told(night, caplog):
    deliver(night, rows(6))
    night.overrides["ingest.feedback"] = "{home}/thums/*.csv"
    assert night.run("ingest").facts["feedback"]["files"] == 0
    assert "no file matches ingest.feedback ({home}/thums/*.csv)" in caplog.text


def test_a_wish_that_cannot_be_read_speaks_for_its_copies(night):
    good = rows(6)
    deliver(night, [*good, {**good[0], "opt_out": "ja"}, {**good[1], "k": 1}])
    text = (night.folder / "log.jsonl").read_text().replace('"k": 1', '"k": 1, "k": 2')
    (night.folder / "log.jsonl").write_text(text.replace('"opt_out": "ja"', '"opt_out": "ja"'))
    assert account(night.run("ingest")) == {
        "clean": 5,
        "opt_out is not true or false, but text": 1,
        "a copy has an opt_out that cannot be read": 1,
        "a key that stands twice in one object": 1,
    }


def test_a_wish_behind_another_fault_speaks_for_its_copies(night):
    good = rows(6)
    deliver(night, [*good, {**good[0], "ts": "yesterday", "opt_out": "ja"}])
    manifest = night.run("ingest")
    assert account(manifest) == {
        "clean": 5,
        "ts is not a time, but text": 1,
        "a copy has an opt_out that cannot be read": 1,
    }
    assert all(json.loads(row["raw"])["withheld"] for row in night.rows("ingest", "quarantine"))


def test_equal_rows_without_an_id_have_one_wish(night):
    first, *others = (without(row, "request_id") for row in rows(6))
    deliver(night, [{**first, "opt_out": True}, first, *others])
    assert account(night.run("ingest")) == {"opted out": 2, "clean": 5}


def test_folders_that_part_a_table_are_columns(night):
    for value, row in zip(("true", "false", "false"), rows(3), strict=True):
        folder = night.folder / f"opt_out={value}" / f"tenant=north%2F{value}"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{row['request_id']}.jsonl"
        path.write_text(json.dumps(without(row, "opt_out", "tenant")))
    night.overrides["ingest.source"] = str(night.folder)
    assert account(night.run("ingest")) == {"opted out": 1, "clean": 2}
    assert {row["tenant"] for row in night.rows("ingest", "rows")} == {"north/false"}


@pytest.mark.parametrize("mark", ["_delta_log/0.json", ".hoodie/x", "metadata/version-hint.text"])
def test_a_table_with_a_log_of_its_own_holds(night, mark):
    deliver(night, rows(6))
    (night.folder / mark).parent.mkdir(parents=True, exist_ok=True)
    (night.folder / mark).write_text("{}")
    with pytest.raises(InputError, match=r"its files also hold deleted rows\. Export a snapshot"):
        night.run("ingest")
