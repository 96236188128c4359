import shutil
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.errors import InputError
from pipelines.data.lake import GROUP_ROWS, Lake, write_parquet
from pipelines.data.publications import Publications
from pipelines.data.schema import SCHEMA
from pipelines.stores.blobs import Folder
from tests.support.interactions import make_rows

NIGHT = date(2026, 1, 3)
BEFORE = NIGHT - timedelta(days=1)


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path / "lake"), memory_mib=256)


def test_rows_come_back_sorted_and_typed(lake):
    rows = make_rows(NIGHT, 50, seed=1)
    assert lake.publish(NIGHT, rows.take(list(reversed(range(50))))) == {NIGHT: 50}
    assert lake.interactions(NIGHT, NIGHT, NIGHT).equals(rows)
    some = lake.interactions(NIGHT, NIGHT, NIGHT, columns=["ts", "rating"])
    assert some.schema == pa.schema([SCHEMA.field("ts"), SCHEMA.field("rating")])


def test_a_lake_without_rows_is_an_empty_table(lake):
    assert lake.interactions(BEFORE, NIGHT, NIGHT).equals(SCHEMA.empty_table())
    assert lake.days(NIGHT) == []
    assert lake.query("SELECT count(*) AS n FROM interactions", NIGHT, NIGHT, NIGHT)["n"].to_pylist() == [0]


def test_a_late_row_joins_its_day_as_of_its_own_night(lake):
    lake.publish(BEFORE, make_rows(BEFORE, 10, seed=1))
    before = lake.digest(BEFORE, BEFORE, BEFORE)
    lake.publish(NIGHT, pa.concat_tables([make_rows(NIGHT, 10, seed=2), make_rows(BEFORE, 3, seed=3)]))
    assert lake.interactions(BEFORE, BEFORE, as_of=NIGHT).num_rows == 13
    assert lake.interactions(BEFORE, BEFORE, as_of=BEFORE).num_rows == 10
    assert lake.digest(BEFORE, BEFORE, BEFORE) == before != lake.digest(BEFORE, BEFORE, NIGHT)
    assert lake.days(NIGHT) == [BEFORE, NIGHT]
    assert lake.days(BEFORE) == [BEFORE]


def test_publishing_again_replaces_that_nights_rows_only(lake):
    lake.publish(BEFORE, make_rows(BEFORE, 10, seed=1))
    lake.publish(NIGHT, pa.concat_tables([make_rows(NIGHT, 10, seed=2), make_rows(BEFORE, 3, seed=3)]))
    lake.publish(NIGHT, make_rows(NIGHT, 5, seed=4))
    assert lake.interactions(BEFORE, NIGHT, NIGHT).num_rows == 15
    lake.publish(NIGHT, [])
    assert lake.interactions(BEFORE, NIGHT, NIGHT).num_rows == 10


def test_equal_rows_give_equal_bytes_however_they_are_batched(tmp_path):
    rows = make_rows(NIGHT, 300, seed=1)
    write_parquet(tmp_path / "a", rows.to_batches(), SCHEMA)
    write_parquet(tmp_path / "b", rows.to_batches(max_chunksize=7), SCHEMA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_large_files_have_row_groups_of_a_fixed_size(tmp_path):
    batch = pa.record_batch({"x": pa.array(range(70_000), pa.int64())})
    assert write_parquet(tmp_path / "x", [batch, batch], batch.schema) == 140_000
    metadata = pq.ParquetFile(tmp_path / "x").metadata
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [GROUP_ROWS, GROUP_ROWS, 140_000 - 2 * GROUP_ROWS]


def test_a_file_that_was_not_finished_is_not_seen(lake, tmp_path):
    lake.publish(NIGHT, make_rows(NIGHT, 5, seed=1))
    folder = tmp_path / "lake" / "interactions" / f"dt={NIGHT}"
    (folder / f".delivery={NIGHT}.parquet.partial").write_bytes(b"half")
    assert lake.interactions(NIGHT, NIGHT, NIGHT).num_rows == 5


@pytest.fixture(params=["local", "s3"])
def shared(request, tmp_path):
    """A lake that several processes use, on both."""
    if request.param == "local":
        return str(tmp_path / "lake")
    return request.getfixturevalue("bucket") + "/lake"


def two_days(seed, count=5):
    return pa.concat_tables([make_rows(BEFORE, count, seed=seed), make_rows(NIGHT, count, seed=seed + 1)])


def test_a_night_of_several_days_appears_at_once(shared, monkeypatch):
    lake, reader = Lake(shared, 256), Lake(shared, 256)
    lake.publish(NIGHT, two_days(1))
    before = reader.digest(BEFORE, NIGHT, NIGHT)
    with monkeypatch.context() as killed:
        killed.setattr("pipelines.data.lake.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lake.publish(NIGHT, two_days(3, count=9))
    assert reader.digest(BEFORE, NIGHT, NIGHT) == before
    assert reader.interactions(BEFORE, NIGHT, NIGHT).num_rows == 10
    lake.publish(NIGHT, two_days(3, count=9))
    assert reader.interactions(BEFORE, NIGHT, NIGHT).num_rows == 18
    assert len(Publications(Folder(shared).files()).files) == 2


def test_a_late_publisher_changes_nothing(shared, monkeypatch):
    lake, late = Lake(shared, 256), Lake(shared, 256)

    def slowly():
        yield from make_rows(BEFORE, 3, seed=9).to_batches()
        lake.publish(NIGHT, two_days(1))  # another process, while this one was paused
        yield from make_rows(NIGHT, 3, seed=9).to_batches()

    late.publish(NIGHT, slowly())
    expected = Lake(str(shared) + "-other", 256)
    expected.publish(NIGHT, two_days(1))
    assert lake.digest(BEFORE, NIGHT, NIGHT) == expected.digest(BEFORE, NIGHT, NIGHT)
    assert lake.interactions(BEFORE, NIGHT, NIGHT).equals(expected.interactions(BEFORE, NIGHT, NIGHT))


def test_what_was_left_behind_goes_after_a_day(shared, monkeypatch):
    lake = Lake(shared, 256)
    with monkeypatch.context() as killed:
        killed.setattr("pipelines.data.lake.finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lake.publish(BEFORE, make_rows(BEFORE, 5, seed=1))
    lake.publish(NIGHT, make_rows(NIGHT, 5, seed=2))
    left = {path for path in Folder(shared).files() if f"delivery={BEFORE}" in path and path.endswith("quet")}
    assert len(left) == 1, "it may still be at work"
    monkeypatch.setattr("pipelines.data.publications.LEFT_S", -60)
    lake.publish(NIGHT, make_rows(NIGHT, 5, seed=2))
    assert not left & set(Folder(shared).files())
    assert lake.days(NIGHT) == [NIGHT]


def test_a_lake_of_an_older_version_is_read_and_replaced(tmp_path):
    lake = Lake(str(tmp_path / "lake"), 256)
    lake.publish(NIGHT, make_rows(NIGHT, 5, seed=1))
    lake.publish(BEFORE, make_rows(BEFORE, 5, seed=2))
    digest = lake.digest(BEFORE, NIGHT, NIGHT)
    for file in (tmp_path / "lake" / "interactions").glob("*/*.parquet"):
        file.rename(file.with_name(f"{file.name.split('.')[0]}.parquet"))
    shutil.rmtree(tmp_path / "lake" / "published")
    assert lake.digest(BEFORE, NIGHT, NIGHT) == digest
    assert lake.interactions(BEFORE, NIGHT, NIGHT).num_rows == 10
    lake.publish(NIGHT, make_rows(NIGHT, 7, seed=3))
    assert lake.interactions(BEFORE, NIGHT, NIGHT).num_rows == 12


def test_a_flipped_bit_in_the_lake_is_told(tmp_path):
    lake = Lake(str(tmp_path / "lake"), 256)
    lake.publish(NIGHT, make_rows(NIGHT, 5, seed=1))
    assert list(lake.changed()) == []
    (file,) = (tmp_path / "lake" / "interactions").glob("*/*.parquet")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert [path.rpartition("/")[2] for path in lake.changed()] == [file.name]


def test_a_store_that_goes_away_under_duckdb_is_told(bucket, monkeypatch):
    lake, honest = Lake(f"{bucket}/lake", 256), Lake.scan
    lake.publish(NIGHT, make_rows(NIGHT, 5, seed=1))

    def scan(self, *rest):
        sql = honest(self, *rest)
        Folder(bucket).fs.rm(bucket, recursive=True)
        return sql

    monkeypatch.setattr(Lake, "scan", scan)
    with pytest.raises(InputError, match=r"There is no bucket test-.*, which lake_root names"):
        lake.query("SELECT * FROM interactions", NIGHT, NIGHT, NIGHT)
