import json
import re
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
    "rating is not -1, 0 or 1": {"rating": 7},
    "latency_ms is out of range": {"latency_ms": -1.0},
    "tokens_in is out of range": {"tokens_in": 0},
    "tokens_out is out of range": {"tokens_out": -5},
    "route is unknown": {"route": "sideways"},
    "locale is not a language tag": {"locale": "English, I think"},
    "completion is empty": {"completion": "  "},
    "correction is empty": {"correction": ""},
    "tenant is empty or too long": {"tenant": ""},
    "the prompt is empty": {"messages": [{"role": "user", "content": " "}]},
    "the last message is not the user's": {"messages": [{"role": "assistant", "content": "hm"}]},
    "messages has an unknown role": {
        "messages": [{"role": "wizard", "content": "x"}, {"role": "user", "content": "y"}]
    },
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
        r["request_id"] for r in records[:12]
    }
    kept = lake.interactions(NIGHT, NIGHT, NIGHT)["request_id"].to_pylist()
    assert kept == [row["request_id"] for row in records[12:]]


def test_a_row_that_breaks_two_rules_has_both_reasons(night):
    latencies = [-1.0] + [5.0 + i for i in range(99)]
    ratings = [9] + [1] * 99
    manifest = validated(night, make_rows(NIGHT, 100, seed=1, latency_ms=latencies, rating=ratings))
    (row,) = night.rows("validate", "quarantine")
    assert row["reason"] == "latency_ms is out of range; rating is not -1, 0 or 1"
    assert manifest.facts["night"]["rows"] == 99


STUCK = {
    "rows is 40, at least 50": (40, {}),
    "distinct_latencies is 1": (60, {"latency_ms": 5.0}),
    "distinct_prompts is 1": (60, {"messages": [{"role": "user", "content": "the same"}]}),
    "rated_rows is 0": (60, {"rating": None}),
    "quarantined_share is 0.25": (60, {"latency_ms": [-1.0] * 15 + [5.0 + i for i in range(45)]}),
}


@pytest.mark.parametrize(("words", "made"), STUCK.items())
def test_a_night_that_breaks_the_contract_holds(night, lake, words, made):
    n, overrides = made
    night.overrides["validate.min_rows"] = 50 if n == 40 else 10
    value = overrides.get("messages")
    manifest = validated(
        night, make_rows(NIGHT, n, seed=1, **(overrides | ({"messages": [value] * n} if value else {})))
    )
    assert manifest.verdict == "hold"
    assert any(words in reason for reason in manifest.reasons), manifest.reasons
    assert lake.days(NIGHT) == []


def test_a_second_delivery_that_holds_withdraws_the_night(night, lake):
    assert validated(night, make_rows(NIGHT, 100, seed=1)).verdict == "proceed"
    assert validated(night, make_rows(NIGHT, 10, seed=1)).verdict == "hold"
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
    (day / f"delivery={NIGHT}.parquet").unlink()
    pq.write_table(rows.slice(0, 3), day / f".delivery={NIGHT}.parquet.partial")
    assert night.run("validate", rerun=True).digest == first.digest
    assert lake.digest(NIGHT - timedelta(days=1), NIGHT, NIGHT) == whole
