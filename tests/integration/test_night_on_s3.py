"""A night on S3 gives what it gives in local folders, asks for little, and keeps the key to itself."""

import json
import logging
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.core.config import load_config
from pipelines.data import open_lake
from pipelines.operations.verify import verify
from pipelines.runner import run_step
from pipelines.stores import open_run, run_ids, run_uri
from pipelines.stores.blobs import Folder
from pipelines.stores.object_store import file_system
from pipelines.stores.retention import prune
from tests.support.cluster import ACCESS
from tests.support.interactions import make_rows
from tests.support.manifests import make_manifest

NIGHTS = [date(2026, 1, 1), date(2026, 1, 2)]
STEPS = ("ingest", "validate", "features", "drift", "decide", "report", "record")
log = logging.getLogger("nightshift")
ROOTS = ("runs_root", "lake_root", "shared_root")


@pytest.fixture
def requests(monkeypatch):
    """The names of the requests that S3 gets."""
    import s3fs

    asked, honest = [], s3fs.S3FileSystem._call_s3

    async def counting(self, method, *args, **kwargs):
        asked.append(method)
        return await honest(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counting)
    return asked


def delivered(folder):
    """Two nights' deliveries; the second one has rows of the first."""
    for number, night in enumerate(NIGHTS):
        rows = [make_rows(night, 80, seed=number)]
        if number:
            rows.append(make_rows(NIGHTS[0], 4, seed=9))
        (folder / f"dt={night}").mkdir(parents=True)
        pq.write_table(pa.concat_tables(rows), folder / f"dt={night}" / "part.parquet")
    return f"{folder}/dt={{night}}/*.parquet"


@pytest.fixture
def sites(tmp_path, bucket):
    """A configuration of each kind, on the same deliveries."""
    source = delivered(tmp_path / "logs")
    usual = {
        "ingest.kind": "files",
        "ingest.source": source,
        "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
    }
    roots = {name: f"{bucket}/{name}" for name in ROOTS}
    return [
        load_config("config/demo.toml", tmp_path / name, usual | more)
        for name, more in (("local", {}), ("s3", roots))
    ]


@pytest.mark.slow
def test_a_night_is_the_same_on_s3(sites, requests, caplog):
    results, spent = [], {}
    for config in sites:
        begun = time.monotonic()
        for night in NIGHTS:
            for step in STEPS:
                results.append(run_step(step, run_uri(config, str(night)), config))
        spent[config.home] = round(time.monotonic() - begun, 1)
    log.info("seconds: %s; requests: %s", spent, Counter(requests))
    local, s3 = sites
    for night in NIGHTS:
        here, there = (open_run(config, str(night)).manifests() for config in (local, s3))
        assert list(here) == list(there) == list(STEPS)
        for step in STEPS:
            assert told(here[step]) == told(there[step]), step
        for step in STEPS[: STEPS.index("decide")]:  # later ones know how long the night took
            assert here[step].digest == there[step].digest, step
    assert [open_lake(config).digest(*NIGHTS, NIGHTS[1]) for config in sites].count(
        open_lake(local).digest(*NIGHTS, NIGHTS[1])
    ) == 2
    assert verify(s3) == 0
    assert run_step("ingest", run_uri(s3, str(NIGHTS[0])), s3).reused
    assert not (Path(s3.home) / "runs").exists()
    assert not (Path(s3.home) / "lake").exists()
    keep_the_key(s3, results, caplog)


def told(manifest):
    """What two machines must agree on."""
    outputs = {} if manifest.step == "report" else {name: a.sha256 for name, a in manifest.outputs.items()}
    metrics = {name: metric for name, metric in manifest.metrics.items() if not name.startswith("cpu_hours")}
    return manifest.verdict, manifest.reasons, metrics, json.dumps(without_usage(manifest.facts)), outputs


def without_usage(facts):
    """Facts but for hours, and for digests of manifests that have hours in them."""
    if not isinstance(facts, dict):
        return facts
    return {k: without_usage(v) for k, v in facts.items() if "cpu_hours" not in k and k not in STEPS[4:]}


def keep_the_key(config, results, caplog):
    """Neither files nor objects, logs or results hold a credential."""
    secret = ACCESS["AWS_SECRET_ACCESS_KEY"].encode()
    for path in Path(config.home).rglob("*"):
        assert not (path.is_file() and secret in path.read_bytes()), path
    for root in ROOTS:
        folder = Folder(config.path(getattr(config, root)))
        for path, content in folder.read_many(folder.files()).items():
            assert secret not in content, path
    assert secret.decode() not in caplog.text
    assert secret.decode() not in json.dumps([result.model_dump(mode="json") for result in results])


def test_a_year_of_nights_is_listed_in_few_requests(home, bucket, requests):
    roots = {name: f"{bucket}/{name}" for name in ROOTS}
    config = load_config("config/demo.toml", home, roots)
    days = [date(2025, 1, 1) + timedelta(days=number) for number in range(365)]
    fs, _ = file_system(bucket)
    name = bucket.removeprefix("s3://")
    lake, runs = f"{name}/lake_root", f"{name}/runs_root"
    objects = {}
    for day in days:
        data = f"delivery={day}.000001.{'0' * 64}.parquet"
        objects[f"{lake}/interactions/dt={day}/{data}"] = b"x"
        objects[f"{lake}/interactions/dt={day - timedelta(days=1)}/{data}"] = b"x"
        objects[f"{lake}/published/delivery={day}.000001.done"] = b""
        manifest = make_manifest("ingest", str(day), attempt="attempt-1").model_dump_json().encode()
        objects[f"{runs}/{day}/ingest/manifest.json"] = manifest
        objects[f"{runs}/{day}/ingest/attempt-1/rows.parquet"] = b"x"
    fs.pipe(objects)

    def asked(call):
        requests.clear()
        begun = time.monotonic()
        found = call()
        log.info("%d requests in %.2f s", len(requests), time.monotonic() - begun)
        return found, len(requests)

    found, count = asked(lambda: run_ids(config))
    assert (len(found), count) == (365, 1)
    found, count = asked(lambda: open_run(config, str(days[0])).manifests())
    assert (len(found), count) == (1, 14)
    found, count = asked(lambda: open_lake(config).days(days[-1]))
    assert (len(found), count) == (366, 2)  # 1,095 objects, 1,000 a request
    _, count = asked(lambda: open_lake(config).digest(days[0], days[-1], days[-1]))
    assert count == 2
    _, count = asked(lambda: prune(config, datetime(2025, 3, 15, tzinfo=UTC).timestamp()))
    assert count < 20, "nights that are not that old are not read"
