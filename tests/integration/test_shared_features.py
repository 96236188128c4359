"""Features in a real Redis, with the registry in PostgreSQL and the files on S3; and `features-sync`."""

import re
import signal
import threading
from datetime import UTC, date, timedelta

import httpx
import pytest
from redis import Redis

from pipelines.core.errors import InputError, UnavailableError
from pipelines.data import feature_places, online_redis, open_feature_store, open_lake
from pipelines.data.activity import activity, end_of
from pipelines.data.features import VIEWS
from pipelines.operations.feature_sync import HELP, feature_sync
from tests.support.configs import make_config
from tests.support.interactions import make_rows
from tests.support.nights import Night
from tests.support.servers import pushgateway

pytestmark = pytest.mark.slow
NIGHT, DAY = date(2026, 1, 10), timedelta(days=1)
NOW = end_of(NIGHT) + timedelta(hours=6)
CAMPUS = ("campus",)


@pytest.fixture
def redis(redis_server):
    with Redis(port=redis_server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def url(redis, redis_server):
    return f"redis://127.0.0.1:{redis_server.port}/0"


def with_lake(home, **settings):
    """A home with a day of interactions in its lake."""
    config = make_config(home, "features", **settings)
    open_lake(config).publish(NIGHT, make_rows(NIGHT, 60, seed=1))
    return config


def fill(config, night=NIGHT):
    """What the step does to the store."""
    store, zone = open_feature_store(config), config.ingest.zone
    with store.writing(config):
        for view in VIEWS:
            store.put(view, night, activity(open_lake(config), view, (1, 7, 28), night, zone))
        store.apply()
        store.materialise(end_of(night, zone))
    return store


def requests(store):
    return store.online("tenant_activity", [CAMPUS])[0][CAMPUS]["requests_1d"]


def test_a_night_beyond_one_machine_is_the_same(tmp_path, url, empty_database, bucket):
    shared = {"features.online_url": url, "features.registry_url": empty_database, "shared_root": bucket}
    found = {}
    for name, overrides in (("local", {}), ("shared", shared)):
        night = Night(tmp_path / name, NIGHT, overrides)
        night.deliver(make_rows(NIGHT, 60, seed=2))
        found[name] = night.run("ingest", "validate", "features")
    assert found["shared"].verdict == "proceed", found["shared"].reasons
    assert found["shared"].outputs == found["local"].outputs
    assert found["shared"].metrics == found["local"].metrics
    assert {
        p.name for p in (tmp_path / "shared" / "feast").iterdir()
    } == set()  # nothing stays on the machine
    synced = feature_sync(night.config, NOW)
    assert synced.verdict == "proceed", synced.reasons
    assert synced.manifest_uri == f"{bucket}/feast/data"
    night.deliver(make_rows(NIGHT, 40, seed=3), "more.parquet")  # the same night again, with other values
    again = night.run("ingest", "validate", "features", rerun=True)
    assert (again.verdict, again.facts["parity"]["differences"]) == ("proceed", [])


def test_redis_away_is_a_fault_that_names_it(home, redis_server, url, monkeypatch):
    monkeypatch.setattr(online_redis, "TRIES_MORE", 1)
    config = with_lake(home, online_url=url)
    redis_server.stop()
    try:
        with pytest.raises(UnavailableError, match=f"Redis at {url} does not answer .*features.online_url"):
            fill(config)
    finally:
        redis_server.start()
    store = fill(config)
    assert requests(store) > 0


def test_a_wrong_password_is_a_fault_that_names_its_file(home, tmp_path, redis, url):
    file = tmp_path / "password"
    file.write_text("wrong\n")
    config = with_lake(home, online_url=url, online_password_file=str(file))
    redis.config_set("requirepass", "right, with=signs")
    try:
        with pytest.raises(InputError, match=r"refuses the login .*features.online_password_file"):
            fill(config)
        file.write_text("right, with=signs\n")
        assert requests(fill(config)) > 0
    finally:
        redis.config_set("requirepass", "")


def test_a_postgres_that_stays_away_is_named(home, url, postgres, empty_database, monkeypatch):
    monkeypatch.setattr(feature_places, "WAIT_S", 0.5)
    config = with_lake(home, online_url=url, registry_url=empty_database)
    fill(config)
    postgres.server.stop(signal.SIGINT)  # a fast shutdown
    try:
        with pytest.raises(UnavailableError, match="PostgreSQL cannot be reached"):
            feature_sync(config, NOW)
    finally:
        postgres.server.start(postgres.is_ready)
    assert feature_sync(config, NOW).verdict == "proceed"


def test_a_home_without_features_has_nothing_to_sync(home):
    found = feature_sync(make_config(home, "features"), NOW)
    assert (found.verdict, found.reasons) == ("skip", ("No night has stored features.",))


def test_a_redis_that_lost_its_data_is_filled_and_told_of(home, redis, url):
    config = with_lake(home, online_url=url)
    before = requests(fill(config))
    assert feature_sync(config, NOW).verdict == "proceed"
    redis.flushall()
    found = feature_sync(config, NOW)
    assert found.verdict == "hold"
    assert "are right again, such as:" in found.reasons[0]
    assert requests(open_feature_store(config)) == before
    assert feature_sync(config, NOW).verdict == "proceed"


def test_a_value_changed_online_is_found_and_mended(home, redis, url):
    config = with_lake(home, online_url=url)
    store = fill(config)
    before, _ = store.online("tenant_activity", store.entities("tenant_activity", NIGHT))
    one, other = [key for key in sorted(redis.keys("*")) if b"subject_id" not in key][:2]
    redis.hset(one, mapping=redis.hgetall(other))
    found = feature_sync(config, NOW)
    assert found.verdict == "hold"
    assert "are right again" in found.reasons[0]
    assert store.online("tenant_activity", list(before))[0] == before


def test_what_a_sync_found_is_pushed(home, tmp_path, redis, url):
    fill(with_lake(home, online_url=url))
    redis.flushall()
    with pushgateway(tmp_path) as pushed:
        feature_sync(with_lake(home, online_url=url, **{"watch.pushgateway": pushed}), NOW)
        text = httpx.get(f"{pushed}/metrics", trust_env=False).text
    values = dict(re.findall(r'^(nightshift_features_\w+){.*job="nightshift_features".*} (\S+)$', text, re.M))
    assert values.keys() == HELP.keys()
    assert float(values["nightshift_features_differences"]) > 0
    assert float(values["nightshift_features_newest_timestamp_seconds"]) == end_of(NIGHT).timestamp()


def test_old_features_are_told_of(home, url):
    config = with_lake(home, online_url=url)
    fill(config)
    found = feature_sync(config, end_of(NIGHT) + timedelta(hours=49))
    assert found.verdict == "hold"
    assert "The newest features are of 2026-01-11T00:00:00+00:00" in found.reasons[0]


def test_a_night_that_was_stored_and_not_filled_is_filled(home, url):
    """As after a kill between the two."""
    config = with_lake(home, online_url=url)
    store = fill(config)
    open_lake(config).publish(NIGHT + DAY, make_rows(NIGHT + DAY, 90, seed=2))
    for view in VIEWS:
        store.put(view, NIGHT + DAY, activity(open_lake(config), view, (1, 7, 28), NIGHT + DAY))
        if view == "tenant_activity":  # half of a night is none
            assert store.newest_night() == NIGHT
    found = feature_sync(config, NOW + DAY)
    assert found.verdict == "proceed", found.reasons
    assert store.online("tenant_activity", [CAMPUS])[1][CAMPUS] == end_of(NIGHT + DAY)


def test_two_syncs_at_once_and_a_service_that_reads(home, url):
    config = with_lake(home, online_url=url)
    store, results = fill(config), []
    syncs = [threading.Thread(target=lambda: results.append(feature_sync(config, NOW))) for _ in range(2)]
    for sync in syncs:
        sync.start()
    while any(sync.is_alive() for sync in syncs):
        assert requests(store) > 0
    assert [result.verdict for result in results] == ["proceed", "proceed"]


def test_a_night_in_new_york_ends_there(home, url):
    config = with_lake(home, online_url=url, **{"ingest.timezone": "America/New_York"})
    fill(config)
    at = end_of(NIGHT, config.ingest.zone)
    assert at.isoformat() == "2026-01-11T05:00:00+00:00"
    store = open_feature_store(config)
    assert store.newest() == store.stamp(NIGHT) == at.astimezone(UTC)
    assert feature_sync(config, at + timedelta(hours=1)).verdict == "proceed"


def test_redis_forgets_people_who_do_not_come_back(home, redis, url):
    fill(with_lake(home, online_url=url))
    longest = timedelta(days=28, hours=48).total_seconds()
    assert {longest - redis.ttl(key) < 60 for key in redis.keys("*")} == {True}
