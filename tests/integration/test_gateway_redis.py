"""Gateways that share a real Redis, through HTTP: the cache, the limits, and what happens without it."""

import socket
import time

import pytest
from redis import Redis

from gateway.serving import cache, shared_redis
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import chat, gateway, gateway_config, until


@pytest.fixture
def url(redis_server, monkeypatch):
    monkeypatch.setattr(shared_redis, "TIMEOUT_S", 2.0)  # a busy machine is no lost Redis
    with Redis(port=redis_server.port) as redis:
        redis.flushall()
    return f"redis://127.0.0.1:{redis_server.port}/0"


def ask(client, text="hello"):
    return client.post("/v1/chat/completions", json=chat(text))


def is_cached(client, text="hello"):
    return ask(client, text).json()["nightshift"]["cached"]


def test_gateways_share_a_cache(home, tmp_path, url):
    config, other = gateway_config(home, redis_url=url), gateway_config(tmp_path / "other", redis_url=url)
    with gateway(config, DoubleEngine()) as one, gateway(other, DoubleEngine()) as two:
        with one.client() as client:
            assert [is_cached(client) for _ in range(2)] == [False, True]
        with two.client() as client:
            assert is_cached(client)
        with two.client(tenant="south-clinic") as client:
            assert not is_cached(client)  # nobody sees whether another tenant asked


def test_gateways_of_two_versions_share_no_answer(home, url, monkeypatch):
    config = gateway_config(home, redis_url=url)
    with gateway(config, DoubleEngine()) as running, running.client() as client:
        assert [is_cached(client) for _ in range(2)] == [False, True]
        monkeypatch.setattr(cache, "code_digest", lambda: "of a newer version")
        assert [is_cached(client) for _ in range(2)] == [False, True]


def test_gateways_share_a_tenants_day_and_minute(home, tmp_path, url):
    limits = {"limits": {"requests_per_minute": 6, "tokens_per_day": 1_000_000}}
    config = gateway_config(home, redis_url=url, **limits)
    other = gateway_config(tmp_path / "other", redis_url=url, **limits)
    with (
        gateway(config, DoubleEngine()) as one,
        gateway(other, DoubleEngine()) as two,
        one.client() as first,
        two.client() as second,
    ):
        answers = [ask(client, str(number)) for number in range(4) for client in (first, second)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 2


def test_answers_go_on_while_redis_is_away(home, url, redis_server):
    config = gateway_config(home, redis_url=url, limits={"requests_per_minute": 5, "tokens_per_day": 1000})
    with gateway(config, DoubleEngine()) as running, running.client() as client:
        assert [is_cached(client) for _ in range(2)] == [False, True]
        redis_server.stop()
        try:
            answers = [ask(client) for _ in range(6)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429]  # limits hold all the same
            assert not any(answer.json()["nightshift"]["cached"] for answer in answers[:5])
            assert max(answer.elapsed.total_seconds() for answer in answers) < 2
            ready = running.ready()
            assert ready["ready"] is True
            assert ready["problem"].startswith(f"Redis at {url} does not answer")
            assert running.metric("redis_away") == 1
            assert running.metric("redis_failures_total") >= 6
        finally:
            redis_server.start()
        until(lambda: running.ready()["problem"] == "")
        assert running.metric("redis_away") == 0
        assert [is_cached(client, "again") for _ in range(2)] == [False, True]
    with Redis(port=redis_server.port) as redis:  # what was used meanwhile is counted
        (key,) = redis.keys("nightshift:tokens:*")
        assert sum(int(value) for value in redis.hvals(key) if b" " not in value) > 0


def test_a_gateway_starts_without_redis(home):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.listen(0)  # accepts and never answers: the worst kind of gone
        config = gateway_config(home, redis_url=f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
        with gateway(config, DoubleEngine()) as running, running.client() as client:
            answers = [ask(client) for _ in range(10)]
            assert {answer.status_code for answer in answers} == {200}
            assert not any(answer.json()["nightshift"]["cached"] for answer in answers)
            started = time.monotonic()
            ask(client)
            assert time.monotonic() - started < 0.1  # nobody waits for it any more
