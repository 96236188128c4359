import json
import re
from datetime import UTC, date, datetime, timedelta

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from pipelines.core.errors import UnavailableError
from pipelines.data.lake import Lake
from pipelines.data.schema import SCHEMA, rows_of
from tests.support.interactions import make_rows
from tests.support.nights import Night

NIGHT = date(2026, 1, 3)
SECRET = "never write me down"


@pytest.fixture
def night(tmp_path):
    return Night(tmp_path, NIGHT, {})


def as_json(rows):
    return [row | {"ts": row["ts"].isoformat()} for row in rows.to_pylist()]


def jsonl(night, lines):
    (night.folder / "log.jsonl").write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    )


def account(manifest):
    facts = manifest.facts
    assert facts["read"] == facts["kept"] + facts["quarantined"] + facts["dropped"]
    assert facts["read"] == sum(entry["rows"] for entry in facts["accounting"])
    return {entry["reason"]: entry["rows"] for entry in facts["accounting"]}


def test_clean_rows_are_kept_as_they_are(night):
    rows = make_rows(NIGHT, 240, seed=1)
    night.deliver(rows)
    manifest = night.run("ingest")
    assert manifest.headline == "240 rows kept of 240"
    assert account(manifest) == {"clean": 240}
    assert pq.read_table(night.output("ingest", "rows")).equals(rows)
    assert manifest.digest == night.run("ingest", rerun=True).digest


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_text_formats_say_the_same_as_parquet(night, kind):
    rows = make_rows(NIGHT, 60, seed=1)
    if kind == "jsonl":
        jsonl(night, as_json(rows))
    else:
        frame = rows.to_pandas()
        frame["messages"] = [json.dumps(m) for m in rows["messages"].to_pylist()]
        frame["rating"] = frame["rating"].astype("Int8")
        frame.to_csv(night.folder / "log.csv", index=False)
    assert account(night.run("ingest")) == {"clean": 60}
    assert pq.read_table(night.output("ingest", "rows")).equals(rows)


def test_late_rows_stay_and_misdated_rows_go_to_quarantine(night):
    day = timedelta(days=1)
    dated = {0: 20, -1: 5, -3: 4, -4: 3, 1: 2}
    night.deliver(pa.concat_tables([make_rows(NIGHT + shift * day, n, seed=1) for shift, n in dated.items()]))
    manifest = night.run("ingest")
    assert account(manifest) == {"clean": 29, "more than 3 days late": 3, "from the future": 2}
    assert manifest.facts["kept_late"] == 9
    refused = night.rows("ingest", "quarantine")
    assert {row["reason"] for row in refused} == {"more than 3 days late", "from the future"}
    assert json.loads(refused[0]["raw"])["request_id"] == refused[0]["request_id"]


def test_duplicates_are_dropped(night):
    lake = Lake(str(night.home / "lake"), 256)
    lake.publish(NIGHT - timedelta(days=1), make_rows(NIGHT - timedelta(days=1), 10, seed=1))
    night.deliver(make_rows(NIGHT, 20, seed=2))
    night.deliver(
        pa.concat_tables(
            [make_rows(NIGHT, 5, seed=2), make_rows(NIGHT - timedelta(days=1), 10, seed=1).slice(0, 4)]
        ),
        "z.parquet",
    )
    reasons = account(night.run("ingest"))
    assert reasons["already in the lake"] == 4
    kept = night.rows("ingest", "rows")
    assert len({row["request_id"] for row in kept}) == len(kept) == reasons["clean"]


def test_a_night_is_not_its_own_duplicate_when_it_is_run_again(night):
    night.deliver(make_rows(NIGHT, 60, seed=1))
    first = night.run("ingest")
    Lake(str(night.home / "lake"), 256).publish(NIGHT, make_rows(NIGHT, 60, seed=1))
    assert night.run("ingest", rerun=True).digest == first.digest


def test_the_text_of_people_who_opted_out_is_not_written(night):
    rows = as_json(make_rows(NIGHT, 30, seed=1))
    for row in rows[:8]:
        row["completion"] = SECRET
    rows[0]["opt_out"] = True
    rows[1] |= {"opt_out": True, "tokens_in": "many"}  # broken, but the wish is clear
    rows[2] |= {"opt_out": "perhaps"}  # the wish cannot be read
    rows[3] |= {"opt_out": None}
    rows[4]["opt_out"] = True
    rows.append(rows[4] | {"opt_out": False})  # another copy of the same request
    broken = [
        json.dumps(rows[5])[:-3].encode(),
        json.dumps(rows[6] | {"opt_out": True}).encode().replace(b'"tenant"', b'"ten\xffant"'),
    ]
    jsonl(night, rows[:5] + broken + rows[8:])
    manifest = night.run("ingest")
    reasons = account(manifest)
    assert reasons["opted out"] == 5
    assert (
        reasons["opt_out is not true or false, but text"]
        == reasons["opt_out is missing"]
        == reasons["not JSON"]
        == 1
    )
    everything = [path for path in night.home.rglob("*") if path.is_file() and path.parent != night.folder]
    assert everything
    for path in everything:
        content = (
            str(pq.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else path.read_bytes()
        )
        assert SECRET.encode() not in content, path
    assert all(json.loads(row["raw"])["withheld"] for row in night.rows("ingest", "quarantine"))


BAD_CELLS = {  # reason -> (what is in the row, what quarantine shows of it)
    "tokens_in is not a whole number, but text": ({"tokens_in": "many"}, "many"),
    "tokens_out is not a whole number, but another number": ({"tokens_out": 1.5}, "1.5"),
    "latency_ms is not a finite number, but an infinite number": ({"latency_ms": float("inf")}, "inf"),
    "rating is not in the scale of ingest.rating": ({"rating": 1000}, "1000"),
    "completion is not text, but a number": ({"completion": 5}, ""),
    "completion is missing": ({"completion": None}, ""),
    "ts is not a time, but text": ({"ts": "yesterday"}, "yesterday"),
    "messages is not a list of messages, but text": ({"messages": "hello"}, ""),
    "messages is a list as Python prints it, not JSON: write it with json.dumps": (
        {"messages": "[{'role': 'user', 'content': 'hi'}]"},
        "",
    ),
    "messages has one without content": ({"messages": [{"role": "user"}]}, ""),
    "messages has an unknown role": ({"messages": [{"role": "narrator", "content": "x"}]}, "narrator"),
    "messages holds an image (image_url)": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "",
    ),
    "messages holds audio (input_audio)": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        "",
    ),
    "messages has content that is a number, not text": ({"messages": [{"role": "user", "content": 5}]}, ""),
    "messages has content that is true or false, not text": (
        {"messages": [{"role": "user", "content": True}]},
        "",
    ),
    "messages has content that is an object, not text": (
        {"messages": [{"role": "user", "content": {"text": "hi"}}]},
        "",
    ),
    "messages holds text in place of a message": ({"messages": ["hi"]}, ""),
    "messages is empty": ({"messages": []}, ""),
    "messages is longer than 65536 bytes": (
        {"messages": [{"role": "user", "content": "x" * 10_485_760}]},
        "",
    ),
    "tenant is longer than 65536 bytes": ({"tenant": "x" * 70_000}, ""),
}


def test_each_bad_cell_costs_its_row_and_says_why(night):
    rows = as_json(make_rows(NIGHT, 40, seed=1))
    for row, (bad, _) in zip(rows, BAD_CELLS.values(), strict=False):
        row |= bad
    jsonl(
        night, [*rows, b"{broken", b"[1, 2]", json.dumps(rows[-1]).encode().replace(b"case", b"ca\xff\xfe")]
    )
    reasons = account(night.run("ingest"))
    assert reasons == dict.fromkeys(BAD_CELLS, 1) | {
        "clean": 20,
        "not JSON": 1,
        "not a JSON object, but a list": 1,
        "not UTF-8": 1,
    }
    refused = night.rows("ingest", "quarantine")
    assert {row["reason"]: row["found"] for row in refused if row["reason"] in BAD_CELLS} == {
        reason: found for reason, (_, found) in BAD_CELLS.items()
    }
    assert all(len(row["raw"]) < 20_000 for row in refused)
    assert all(isinstance(json.loads(row["raw"]), dict) for row in refused)


def test_bad_utf8_in_csv_costs_its_row(night):
    rows = make_rows(NIGHT, 10, seed=1)
    frame = rows.to_pandas()
    frame["messages"] = [json.dumps(m) for m in rows["messages"].to_pylist()]
    frame["rating"] = frame["rating"].astype("Int8")
    text = frame.to_csv(index=False).encode().replace(b"case", b"ca\xffse", 1)
    (night.folder / "log.csv").write_bytes(text + b"a,row,that,is,short\n")
    assert account(night.run("ingest")) == {
        "clean": 9,
        "not UTF-8": 1,
        "another number of cells than the header": 1,
    }


def test_bad_utf8_in_parquet_costs_its_row(night):
    rows = make_rows(NIGHT, 10, seed=1)
    texts = pa.array([b"\xff\xfe", *[b"Surgery"] * 9], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 10, texts.buffers())
    night.deliver(
        rows.set_column(rows.schema.get_field_index("completion"), SCHEMA.field("completion"), broken)
    )
    assert account(night.run("ingest")) == {"clean": 9, "not UTF-8": 1}


def test_wrong_types_in_parquet_cost_their_rows(night):
    rows = make_rows(NIGHT, 10, seed=1)
    place = rows.schema.get_field_index("tokens_in")
    night.deliver(rows.set_column(place, "tokens_in", pa.array(["12"] * 9 + ["many"])))
    assert account(night.run("ingest")) == {"clean": 9, "tokens_in is not a whole number, but text": 1}
    assert [row["tokens_in"] for row in night.rows("ingest", "rows")] == [12] * 9


@pytest.mark.parametrize("unit", ["s", "ms", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Kolkata"])
def test_times_of_any_unit_and_zone_are_the_same_instant(night, unit, zone):
    rows = make_rows(NIGHT, 5, seed=1, ts=[datetime(2026, 1, 3, 9, i, tzinfo=UTC) for i in range(5)])
    place = rows.schema.get_field_index("ts")
    night.deliver(rows.set_column(place, "ts", rows["ts"].cast(pa.timestamp(unit, zone))))
    assert account(night.run("ingest")) == {"clean": 5}
    assert pq.read_table(night.output("ingest", "rows"))["ts"].equals(rows["ts"])


def test_unknown_and_missing_optional_columns_are_fine(night):
    rows = make_rows(NIGHT, 5, seed=1).drop_columns(["rating", "correction"])
    night.deliver(rows.append_column("colour", pa.array(["red"] * 5)))
    manifest = night.run("ingest")
    assert manifest.facts["ignored_columns"] == ["colour"]
    assert pq.read_table(night.output("ingest", "rows"))["rating"].null_count == 5


def nothing(folder):
    pass


def empty_jsonl(folder):
    (folder / "log.jsonl").write_bytes(b"")


def empty_table(folder):
    pq.write_table(SCHEMA.empty_table(), folder / "part.parquet")


def without_messages(folder):
    pq.write_table(make_rows(NIGHT, 5, seed=1).drop_columns(["messages"]), folder / "part.parquet")


def half_a_parquet(folder):
    pq.write_table(make_rows(NIGHT, 50, seed=1), folder / "part.parquet")
    (folder / "part.parquet").write_bytes((folder / "part.parquet").read_bytes()[:-9])


def open_quote(folder):
    (folder / "log.csv").write_text('request_id,ts\n"' + "x" * 40_000_000)


def spreadsheet(folder):
    (folder / "log.xlsx").write_bytes(b"PK\x03\x04\x14\x00")


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        (nothing, "No file"),
        (empty_jsonl, "holds no rows|hold no rows"),
        (empty_table, "hold no rows"),
        (without_messages, "part.parquet has no column messages. Its columns are request_id, ts"),
        (half_a_parquet, "part.parquet is not a readable Parquet file"),
        (open_quote, "such as|not CSV"),
        (spreadsheet, "log.xlsx"),
    ],
)
def test_a_delivery_that_cannot_be_used_holds_the_night(night, delivery, words):
    delivery(night.folder)
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert any(re.search(words, reason) for reason in manifest.reasons), manifest.reasons


def test_every_row_in_quarantine_holds_with_the_reasons(night):
    rows = as_json(make_rows(NIGHT, 9, seed=1))
    for number, row in enumerate(rows):
        row |= {"ts": "yesterday"} if number < 6 else {"rating": "up"}
    jsonl(night, rows)
    manifest = night.run("ingest")
    assert (manifest.verdict, manifest.headline) == ("hold", "0 rows kept of 9")
    assert list(manifest.reasons) == [
        "6 of 9 rows: ts is not a time, but text, such as 'yesterday'.",
        "3 of 9 rows: rating is not in the scale of ingest.rating, such as 'up'.",
        "Quarantine holds each of them: ingest/quarantine.parquet.",
    ]
    assert len(night.rows("ingest", "quarantine")) == 9


def test_a_delivery_without_a_new_row_holds(night):
    before = NIGHT - timedelta(days=1)
    Lake(str(night.home / "lake"), 256).publish(before, make_rows(before, 5, seed=1))
    night.deliver(make_rows(before, 5, seed=1))
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert list(manifest.reasons) == ["No row of 5 is new: already in the lake (5)."]


def test_columns_in_another_spelling_hold_with_the_lines(night):
    table = make_rows(NIGHT, 5, seed=1).rename_columns(
        [
            "Request_Id",
            *make_rows(NIGHT, 1).column_names[1:-4],
            "Opt-Out",
            *make_rows(NIGHT, 1).column_names[-3:],
        ]
    )
    night.deliver(table)
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert (
        'Write under [ingest.columns]: request_id = "Request_Id", opt_out = "Opt-Out".' in manifest.reasons[0]
    )
    night.overrides["ingest.columns"] = {"request_id": "Request_Id", "opt_out": "Opt-Out"}
    assert account(night.run("ingest")) == {"clean": 5}


def test_a_mapped_column_that_no_file_has_holds(night):
    night.deliver(make_rows(NIGHT, 5, seed=1))
    night.overrides["ingest.columns"] = {"rating": "ratings"}
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert (
        "reads rating from ratings, but the files have no such column. The nearest is rating."
        in manifest.reasons[0]
    )


def in_folders(night, hours):
    for hour, rows in hours.items():
        (night.folder / f"hour={hour:02d}").mkdir(exist_ok=True)
        pq.write_table(rows, night.folder / f"hour={hour:02d}" / "part-0.parquet")


def test_files_are_known_by_their_whole_name(night):
    night.overrides["ingest.source"] = f"{night.folder}/*/*.parquet"
    rows = [make_rows(NIGHT, n, seed=n) for n in (5, 6)]
    in_folders(night, {0: rows[0], 1: rows[1]})
    first = night.run("ingest")
    assert [one["file"] for one in first.facts["by_file"]] == [
        "hour=00/part-0.parquet",
        "hour=01/part-0.parquet",
    ]
    assert [one["kept"] for one in first.facts["by_file"]] == [5, 6]
    in_folders(night, {0: rows[1], 1: rows[0]})
    assert night.run("ingest").digest != first.digest
    in_folders(night, {1: make_rows(NIGHT, 3, seed=1, rating=[1, 1, 1], completion=["x" * 70_000] * 3)})
    night.run("ingest")
    assert {row["file"] for row in night.rows("ingest", "quarantine")} == {"hour=01/part-0.parquet"}


def test_marker_and_hidden_files_are_no_data(night):
    night.deliver(make_rows(NIGHT, 5, seed=1))
    for name in ("_SUCCESS", ".part.parquet.crc", ".DS_Store", "_committed_17"):
        (night.folder / name).write_bytes(b"\x00 not data")
    (night.folder / "_temporary").mkdir()
    pq.write_table(make_rows(NIGHT, 9, seed=2), night.folder / "_temporary" / "part.parquet")
    night.overrides["ingest.source"] = str(night.folder)
    assert account(night.run("ingest")) == {"clean": 5}


@pytest.mark.parametrize("name", ["logs[1]", "a b", "50%25 off", "q?x", "#1", "Übung", "st*r"])
def test_a_folder_of_any_name_is_read(night, name):
    folder = night.home / name / f"dt={NIGHT}"
    folder.mkdir(parents=True)
    pq.write_table(make_rows(NIGHT, 60, seed=1), folder / "part[0].parquet")
    night.overrides |= {
        "ingest.source": f"{night.home}/{name}/dt={{night}}/*",
        "lake_root": f"{night.home}/{name}",
    }
    assert account(night.run("ingest")) == {"clean": 60}
    assert night.run("validate").verdict == "proceed"
    assert Lake(f"{night.home}/{name}", 256).interactions(NIGHT, NIGHT, NIGHT).num_rows == 60


FEEDBACK = [
    {"rating": 1, "correction": None},
    {"rating": -1, "correction": "Dental"},
    {"rating": None, "correction": None},
]


def told(night):
    return [(row["rating"], row["correction"]) for row in night.rows("ingest", "rows")]


def test_the_newest_feedback_wins_by_its_place(night):
    (row,) = as_json(make_rows(NIGHT, 1, seed=1))
    jsonl(night, [row | feedback for feedback in FEEDBACK])
    assert account(night.run("ingest")) == {"clean": 1, "twice in the delivery": 2}
    assert told(night) == [(-1, "Dental")]


def test_the_newest_feedback_wins_by_its_time(night):
    (row,) = as_json(make_rows(NIGHT, 1, seed=1))
    times = [f"{NIGHT}T10:00:00Z", f"{NIGHT}T09:00:00Z", None]
    jsonl(night, [row | said | {"feedback_ts": time} for said, time in zip(FEEDBACK, times, strict=True)])
    night.run("ingest")
    assert told(night) == [(1, None)]


def test_a_request_whose_time_moved_counts_once(night):
    lake, before = Lake(str(night.home / "lake"), 256), NIGHT - timedelta(days=1)
    rows = make_rows(before, 60, seed=1, rating=None, correction=None)
    lake.publish(before, rows)
    later = [row | {"ts": row["ts"] + timedelta(days=1), "rating": 1} for row in rows.to_pylist()[:2]]
    night.deliver(pa.concat_tables([make_rows(NIGHT, 60, seed=2), pa.Table.from_pylist(later, SCHEMA)]))
    assert night.run("ingest", "validate").verdict == "proceed"
    found = lake.interactions(before, NIGHT, NIGHT)
    assert found.num_rows == 120
    assert lake.interactions(before, before, NIGHT)["rating"].to_pylist().count(1) == 2


def test_rows_without_a_name_are_known_again(night):
    rows = make_rows(NIGHT, 60, seed=1).drop_columns(["request_id"])
    night.deliver(pa.concat_tables([rows, rows.slice(0, 2)]))  # two people asked the same at the same time
    assert account(night.run("ingest")) == {"clean": 62}
    night.run("validate")
    tomorrow = Night(night.home, NIGHT + timedelta(days=1), {})
    tomorrow.deliver(rows)
    assert account(tomorrow.run("ingest")) == {"already in the lake": 60}


def test_feedback_that_comes_apart_is_joined(night):
    lake, before = Lake(str(night.home / "lake"), 256), NIGHT - timedelta(days=1)
    old = make_rows(before, 60, seed=1, rating=None, correction=None)
    lake.publish(before, old)
    new = make_rows(NIGHT, 60, seed=2, rating=None, correction=None)
    night.deliver(new)
    ids = [*new["request_id"].to_pylist()[:3], *old["request_id"].to_pylist()[:2]]
    lines = [
        "id;thumb;better",
        *(f"{one};up;" for one in ids),
        f"{ids[0]};down;Dental",
        "gone;up;",
        f"{ids[1]};so-so;",
    ]
    (night.home / "thumbs.csv").write_text("\n".join(lines))
    night.overrides |= {
        "ingest.feedback": "{home}/thumbs.csv",
        "ingest.feedback_columns": {"request_id": "id", "rating": "thumb", "correction": "better"},
        "ingest.rating": {"good": ["up"], "bad": ["down"]},
    }
    manifest = night.run("ingest")
    assert manifest.facts["feedback"] == {
        "read": 8, "joined": 3, "redelivered": 2, "unchanged": 0, "unmatched": 1, "superseded": 1,
        "withdrawn": 0, "files": 1, "refused": {"rating is not in the scale of ingest.rating": 1},
    }  # fmt: skip
    assert account(manifest) == {"clean": 60}
    assert manifest.headline == "60 rows kept of 60, and 2 earlier answers with new feedback"
    assert night.run("validate").facts["published"] == {str(before): 2, str(NIGHT): 60}
    said = {
        row["request_id"]: (row["rating"], row["correction"])
        for row in rows_of(lake.interactions(before, NIGHT, NIGHT))
    }
    assert len(said) == 120
    assert [said[one] for one in ids] == [(-1, "Dental"), (1, None), (1, None), (1, None), (1, None)]
    assert rows_of(lake.interactions(before, before, before))[0]["rating"] is None  # as of then
    tomorrow = Night(night.home, NIGHT + timedelta(days=1), night.overrides)
    tomorrow.deliver(make_rows(NIGHT + timedelta(days=1), 60, seed=3))
    assert tomorrow.run("ingest").facts["feedback"]["unchanged"] == 5  # the same file again changes nothing


def test_feedback_without_an_id_holds(night):
    night.deliver(make_rows(NIGHT, 5, seed=1))
    (night.home / "thumbs.csv").write_text("who,stars\nr-1,5\n")
    night.overrides["ingest.feedback"] = "{home}/thumbs.csv"
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert "its columns are who, stars. Name them under [ingest.feedback_columns]" in manifest.reasons[0]


def test_a_night_of_new_york_is_its_own_day(night):
    start = datetime(2026, 1, 3, 5, tzinfo=UTC)  # midnight there
    rows = make_rows(NIGHT, 96, seed=1, ts=[start + timedelta(minutes=15 * n) for n in range(96)])
    night.deliver(rows)
    night.overrides["ingest.timezone"] = "America/New_York"
    assert account(night.run("ingest")) == {"clean": 96}
    assert night.run("validate").facts["published"] == {str(NIGHT): 96}


@pytest.fixture
def bucket(monkeypatch):
    """A real S3 protocol server on a free loopback port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(key, value)
    S3FileSystem.clear_instance_cache()  # else it keeps the address of an earlier test's server
    client = boto3.client("s3")
    client.create_bucket(Bucket="logs")
    yield client
    for found in client.list_objects_v2(Bucket="logs").get("Contents", []):
        client.delete_object(Bucket="logs", Key=found["Key"])
    server.stop()


def test_a_delivery_in_s3_and_a_lake_in_s3(night, bucket, tmp_path):
    source = tmp_path / "part.parquet"
    pq.write_table(make_rows(NIGHT, 80, seed=1), source)
    bucket.upload_file(str(source), "logs", f"dt={NIGHT}/part.parquet")
    night.overrides |= {"ingest.source": "s3://logs/dt={night}/*.parquet", "lake_root": "s3://logs/lake"}
    assert account(night.run("ingest")) == {"clean": 80}
    assert night.run("validate").verdict == "proceed"
    lake = Lake("s3://logs/lake", 256)
    assert lake.interactions(NIGHT, NIGHT, NIGHT).equals(make_rows(NIGHT, 80, seed=1))
    before = lake.digest(NIGHT, NIGHT, NIGHT)
    night.run("validate", rerun=True)
    assert lake.digest(NIGHT, NIGHT, NIGHT) == before
    lake.publish(NIGHT, [])
    assert lake.days(NIGHT) == []


def test_an_s3_folder_without_a_delivery_holds(night, bucket):
    night.overrides |= {"ingest.source": "s3://logs/dt={night}/*.parquet"}
    assert night.run("ingest").verdict == "hold"


@pytest.mark.slow
def test_an_s3_that_does_not_answer_is_a_fault_in_words(night, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    S3FileSystem.clear_instance_cache()
    night.overrides |= {"ingest.source": "s3://logs/dt={night}/*.parquet"}
    with pytest.raises(UnavailableError, match=r"The object store of \[ingest\] .* does not answer"):
        night.run("ingest")


def test_two_answers_of_one_name_are_no_copies(night):
    rows = as_json(make_rows(NIGHT, 6, seed=1))
    jsonl(night, [*rows, rows[0] | {"tenant": "another"}, rows[1], rows[2] | {"completion": "another"}])
    assert account(night.run("ingest")) == {
        "clean": 4,
        "several answers have this request_id": 4,
        "twice in the delivery": 1,
    }
    assert all(json.loads(row["raw"])["messages"] for row in night.rows("ingest", "quarantine"))


def test_another_answer_of_a_known_name_changes_nothing(night):
    rows = as_json(make_rows(NIGHT, 60, seed=1))
    jsonl(night, rows)
    night.run("ingest", "validate")
    tomorrow = Night(night.home, NIGHT + timedelta(days=1), night.overrides)
    jsonl(tomorrow, [rows[0] | {"completion": "another", "rating": 1}])
    assert account(tomorrow.run("ingest")) == {"another answer in the lake has this request_id": 1}


def test_a_log_without_times_is_known_again_however_late(night):
    rows = [
        {name: value for name, value in row.items() if name != "ts"}
        for row in as_json(make_rows(NIGHT, 60, seed=1))
    ]
    jsonl(night, rows)
    night.run("ingest", "validate")
    later = Night(night.home, NIGHT + timedelta(days=40), night.overrides)
    jsonl(later, rows)
    assert account(later.run("ingest")) == {"already in the lake": 60}


def test_ratings_of_another_scale_hold_the_night(night):
    rows = as_json(make_rows(NIGHT, 20, seed=1))
    jsonl(night, [row | {"rating": place % 5 + 1} for place, row in enumerate(rows)])
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert manifest.reasons[0].startswith("Ratings such as 2, 3, 4 are not in the scale of ingest.rating")
    night.overrides["ingest.rating"] = {"good": [4, 5], "bad": [1, 2], "neutral": [3]}
    assert account(night.run("ingest")) == {"clean": 20}


def test_feedback_of_which_nothing_can_be_used_holds_the_night(night):
    night.deliver(make_rows(NIGHT, 5, seed=1))
    (night.home / "thumbs.csv").write_text("request_id,rating\na,up\nb,down\n")
    night.overrides["ingest.feedback"] = "{home}/thumbs.csv"
    manifest = night.run("ingest")
    assert manifest.verdict == "hold"
    assert manifest.reasons[0].startswith("No row of the separate feedback can be used: rating is not in the")


def test_rows_that_are_no_chats_are_dropped_by_name(night):
    chats = [
        {
            "id": f"a{n}",
            "messages": [{"role": "user", "content": "q"}],
            "response": "a",
            "call_type": "completion",
        }
        for n in range(6)
    ]
    jsonl(night, [*chats, *({"id": f"b{n}", "call_type": "aembedding", "input": "x"} for n in range(30))])
    night.overrides["ingest.format"] = "litellm"
    manifest = night.run("ingest")
    assert account(manifest) == {"no chat, but a call of type aembedding": 30, "clean": 6}
    assert manifest.facts["quarantined"] == 0
