import json
import re
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.data.feedback_log import feedback_of
from pipelines.data.lake import Lake
from tests.support.interactions import make_rows
from tests.support.nights import Night

NIGHT = date(2026, 1, 3)


@pytest.fixture
def night(tmp_path):
    return Night(tmp_path, NIGHT, {})


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"), 256)


def validated(night, rows, **options):
    night.deliver(rows)
    return night.run("ingest", "validate", **options)


def test_a_clean_night_is_published_as_delivered(night, lake):
    rows = pa.concat_tables([make_rows(NIGHT, 200, seed=1), make_rows(NIGHT - timedelta(days=1), 9, seed=2)])
    manifest = validated(night, rows)
    assert manifest.verdict == "proceed"
    assert manifest.facts["published"] == {"2026-01-02": 9, "2026-01-03": 200}
    everything = lake.interactions(NIGHT - timedelta(days=3), NIGHT, NIGHT)
    assert everything.equals(rows.sort_by([("ts", "ascending"), ("request_id", "ascending")]))


BAD_VALUES = {
    "latency_ms is out of range": {"latency_ms": -1.0},
    "tokens_in is out of range": {"tokens_in": 0},
    "tokens_out is out of range": {"tokens_out": -5},
    "route is unknown": {"route": "sideways"},
    "locale is not a language tag": {"locale": "English, I think"},
    "completion is empty": {"completion": "  "},
    "tenant is empty or too long": {"tenant": "x" * 201},
    "the prompt is empty": {"messages": [{"role": "user", "content": " "}]},
    "the last message is not the user's": {"messages": [{"role": "assistant", "content": "hm"}]},
}


def test_each_rule_sends_its_row_to_quarantine(night, lake):
    records = make_rows(NIGHT, 200, seed=1).to_pylist()
    for row, bad in zip(records, BAD_VALUES.values(), strict=False):
        row |= bad
    manifest = validated(night, pa.Table.from_pylist(records, make_rows(NIGHT, 1).schema))
    assert manifest.verdict == "proceed"
    refused = night.rows("validate", "quarantine")
    assert sorted(row["reason"] for row in refused) == sorted(BAD_VALUES)
    assert {json.loads(row["raw"])["request_id"] for row in refused} == {
        r["request_id"] for r in records[: len(BAD_VALUES)]
    }
    kept = lake.interactions(NIGHT, NIGHT, NIGHT)["request_id"].to_pylist()
    assert kept == [row["request_id"] for row in records[len(BAD_VALUES) :]]


def test_a_row_that_breaks_two_rules_has_both_reasons(night):
    latencies = [-1.0] + [5.0 + i for i in range(99)]
    channels = ["x" * 65] + ["web"] * 99
    manifest = validated(night, make_rows(NIGHT, 100, seed=1, latency_ms=latencies, channel=channels))
    (row,) = night.rows("validate", "quarantine")
    assert row["reason"] == "channel is empty or too long; latency_ms is out of range"
    assert manifest.facts["night"]["rows"] == 99


SAME = [{"role": "user", "content": "the same"}]
STUCK = {
    "distinct_latencies is 1": {"latency_ms": 5.0},
    "distinct_prompts is 1": {"messages": [SAME] * 60},
    "distinct_times is 1": {"ts": datetime(2026, 1, 3, 12, tzinfo=UTC)},
    "rated_rows is 0": {"rating": None, "correction": None},
}
BEFORE = NIGHT - timedelta(days=1)


@pytest.mark.parametrize(("words", "overrides"), STUCK.items())
def test_a_column_that_stands_still_holds_if_it_moved(night, lake, words, overrides):
    lake.publish(BEFORE, make_rows(BEFORE, 60, seed=1))
    manifest = validated(night, make_rows(NIGHT, 60, seed=1, **overrides))
    assert manifest.verdict == "hold"
    assert [words in reason for reason in manifest.reasons] == [True]
    assert lake.days(NIGHT) == [BEFORE]


@pytest.mark.parametrize("before", ["nothing", "the same"])
@pytest.mark.parametrize("overrides", STUCK.values(), ids=STUCK)
def test_a_column_that_never_moved_is_no_reason(night, lake, overrides, before):
    if before == "the same":
        moment = {"ts": datetime(2026, 1, 2, 12, tzinfo=UTC)} if "ts" in overrides else {}
        lake.publish(BEFORE, make_rows(BEFORE, 60, seed=1, **(overrides | moment)))
    assert validated(night, make_rows(NIGHT, 60, seed=1, **overrides)).verdict == "proceed"


def test_a_log_without_tokens_and_latency_passes(night, lake):
    rows = make_rows(NIGHT, 60, seed=1).drop_columns(["tokens_in", "tokens_out", "latency_ms"])
    assert validated(night, rows).verdict == "proceed"
    assert lake.interactions(NIGHT, NIGHT, NIGHT)["latency_ms"].null_count == 60


def test_too_much_quarantine_holds_with_the_commonest_reasons(night, lake):
    latencies = [-1.0] * 15 + [5.0 + i for i in range(45)]
    manifest = validated(night, make_rows(NIGHT, 60, seed=1, latency_ms=latencies))
    assert manifest.verdict == "hold"
    assert "quarantined_share is 0.25" in manifest.reasons[0]
    assert list(manifest.reasons[1:]) == ["The commonest reasons: latency_ms is out of range (15 rows)."]
    assert lake.days(NIGHT) == []


def test_a_quiet_night_keeps_its_rows_and_waits(night, lake):
    manifest = validated(night, make_rows(NIGHT, 40, seed=1))
    assert (manifest.verdict, manifest.headline) == ("skip", "40 rows pass, 0 in quarantine")
    assert "40 clean rows came, fewer than validate.min_rows (50)" in manifest.reasons[0]
    assert lake.interactions(NIGHT, NIGHT, NIGHT).num_rows == 40
    later = feedback_of(lake, {NIGHT}, NIGHT + timedelta(days=1)).nights
    assert later[NIGHT]["rows"] == 40  # what the next night decides on


def test_a_night_of_opt_outs_alone_is_quiet(night, lake):
    lake.publish(BEFORE, make_rows(BEFORE, 9, seed=1))
    manifest = validated(night, make_rows(BEFORE, 9, seed=1, opt_out=True))
    assert manifest.verdict == "skip"
    assert lake.interactions(BEFORE, NIGHT, NIGHT).num_rows == 0


def test_who_opts_out_is_left_out_from_then_on(night, lake):
    lake.publish(BEFORE, make_rows(BEFORE, 60, seed=1))
    before = lake.digest(BEFORE, BEFORE, BEFORE)
    gone = make_rows(BEFORE, 60, seed=1, opt_out=True).slice(0, 2)
    validated(night, pa.concat_tables([make_rows(NIGHT, 60, seed=1), gone]))
    assert lake.interactions(BEFORE, BEFORE, as_of=BEFORE).num_rows == 60
    assert lake.interactions(BEFORE, BEFORE, as_of=NIGHT).num_rows == 58
    assert lake.digest(BEFORE, BEFORE, BEFORE) == before != lake.digest(BEFORE, BEFORE, NIGHT)
    tomorrow = Night(night.home, NIGHT + timedelta(days=1), {})
    tomorrow.deliver(make_rows(BEFORE, 60, seed=1).slice(0, 3))  # the same requests, without the wish
    manifest = tomorrow.run("ingest")
    assert {a["reason"]: a["rows"] for a in manifest.facts["accounting"]} == {
        "opted out": 2,
        "already in the lake": 1,
    }


def test_a_held_night_still_honours_opt_outs(night, lake):
    lake.publish(BEFORE, make_rows(BEFORE, 60, seed=1))
    gone = make_rows(BEFORE, 60, seed=1, opt_out=True).slice(0, 2)
    manifest = validated(night, pa.concat_tables([make_rows(NIGHT, 60, seed=1, latency_ms=-1.0), gone]))
    assert manifest.verdict == "hold"
    assert lake.interactions(BEFORE, NIGHT, NIGHT).num_rows == 58


def test_a_second_delivery_that_holds_withdraws_the_night(night, lake):
    assert validated(night, make_rows(NIGHT, 100, seed=1)).verdict == "proceed"
    assert validated(night, make_rows(NIGHT, 10, seed=1, latency_ms=-1.0)).verdict == "hold"
    assert lake.days(NIGHT) == []


def test_chunks_give_the_same_answer_as_one_piece(night):
    rows = make_rows(NIGHT, 3_000, seed=1, latency_ms=[-1.0 if i % 7 == 0 else 5.0 + i for i in range(3_000)])
    whole = validated(night, rows)
    night.overrides["validate.chunk_rows"] = 2_048
    chunked = night.run("validate", rerun=True)
    assert chunked.facts == whole.facts
    assert chunked.facts["night"]["rows"] == 3_000 - 429
    assert chunked.outputs["quarantine"] == whole.outputs["quarantine"]


def test_data_docs_name_the_rules_and_stay_small(night):
    rows = make_rows(NIGHT, 20_000, seed=1, latency_ms=[-1.0 - i for i in range(20_000)])
    manifest = validated(night, rows)
    assert manifest.verdict == "hold"
    docs = night.home / "runs" / str(NIGHT) / "validate" / "data_docs"
    pages = {page.name: page.read_text() for page in docs.rglob("*.html")}
    assert {"index.html", "rows.html", "night.html"} <= set(pages)
    assert "latency_ms" in pages["rows.html"]
    assert all(len(page) < 1_000_000 for page in pages.values())
    assert not any(re.search(r"great-expectations-web-assets", page) for page in pages.values())


def test_the_same_night_gives_the_same_bytes(night):
    first = validated(night, make_rows(NIGHT, 120, seed=1))
    assert night.run("validate", rerun=True).digest == first.digest


def test_a_rerun_completes_a_half_published_lake(night, lake):
    rows = pa.concat_tables([make_rows(NIGHT, 100, seed=1), make_rows(NIGHT - timedelta(days=1), 9, seed=2)])
    first = validated(night, rows)
    whole = lake.digest(NIGHT - timedelta(days=1), NIGHT, NIGHT)
    day = night.home / "lake" / "interactions" / f"dt={NIGHT}"
    (file,) = day.iterdir()
    file.unlink()
    pq.write_table(rows.slice(0, 3), day / f".{file.name}.partial")
    assert night.run("validate", rerun=True).digest == first.digest
    assert lake.digest(NIGHT - timedelta(days=1), NIGHT, NIGHT) == whole
