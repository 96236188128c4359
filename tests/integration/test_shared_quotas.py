"""Several gateways and one real Redis: what a tenant may use of all together, also when Redis is lost."""

import asyncio
import socket
import time

import pytest
from redis import Redis

from gateway.errors import Refusal
from gateway.metrics import Metrics
from gateway.serving import shared_redis
from gateway.serving.quotas import Quotas
from gateway.serving.shared_redis import SharedRedis
from pipelines.core.config import Config
from pipelines.core.errors import ConfigError

NORTH = "north-clinic"


class Site:
    """Gateways of one Redis."""

    def __init__(self, port):
        self.port, self.made = port, []

    def gateway(self, tokens=1000, requests=1000, life_s=60, **settings):
        limits = {"tokens_per_day": tokens, "requests_per_minute": requests}
        gateway = {
            "limits": limits, "redis_url": f"redis://127.0.0.1:{self.port}/0",
            "timeout_s": life_s / 2, "client_timeout_s": life_s / 2,
        }  # fmt: skip
        config = Config(profile="test", gateway=gateway | settings)
        redis = SharedRedis(config, Metrics())
        found = Quotas(config.gateway, redis)
        self.made.append((found, redis))
        return found, redis

    async def use(self, found, tokens):
        (await found.reserve(NORTH, tokens)).settle(tokens)
        await asyncio.gather(*found._saying)

    async def close(self):
        for found, redis in self.made:
            await found.close()
            await redis.close()

    @property
    def used(self):
        with Redis(port=self.port) as redis:
            (key,) = redis.keys("nightshift:tokens:*")
            return sum(int(value) for value in redis.hgetall(key).values() if b" " not in value)


@pytest.fixture
def site(redis_server, monkeypatch):
    monkeypatch.setattr(shared_redis, "TIMEOUT_S", 2.0)  # a busy machine is no lost Redis
    with Redis(port=redis_server.port) as redis:
        redis.flushall()
    return Site(redis_server.port)


def run(site, scenario):
    async def whole():
        try:
            await scenario()
        finally:
            await site.close()

    asyncio.run(whole())


def test_gateways_share_a_minute_and_a_day(site):
    async def scenario():
        (one, _), (two, _) = site.gateway(requests=3), site.gateway(requests=3)
        for found in (one, two, one):
            await found.check_rate(NORTH)
        with pytest.raises(Refusal, match="3 requests per minute"):
            await two.check_rate(NORTH)
        held = await one.reserve(NORTH, 900)
        await two.reserve(NORTH, 200)
        with pytest.raises(Refusal, match="answers under way"):
            await one.reserve(NORTH, 1)
        held.settle(1200)
        await asyncio.gather(*one._saying)
        with pytest.raises(Refusal, match="has used 1200"):
            await two.reserve(NORTH, 1)

    run(site, scenario)


def test_at_once_no_more_than_the_last_answer_is_too_many(site):
    async def scenario():
        gateways = [site.gateway(tokens=1000)[0] for _ in range(3)]
        asked = [gateways[number % 3].reserve(NORTH, 100) for number in range(60)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(not isinstance(answer, Refusal) for answer in answers) == 10

    run(site, scenario)


def test_a_killed_gateway_gives_its_tokens_back(site):
    async def scenario():
        dead, _ = site.gateway(life_s=1)
        await dead.reserve(NORTH, 1000)
        alive, _ = site.gateway(life_s=1)
        with pytest.raises(Refusal, match="answers under way"):
            await alive.reserve(NORTH, 1)
        await asyncio.sleep(2.1)
        await alive.reserve(NORTH, 1)

    run(site, scenario)


def test_without_redis_each_gateway_goes_on_from_the_sum(site, redis_server):
    """Redis is killed and comes back empty: the tenant's day is what it was, and what was used meanwhile."""

    async def scenario():
        (one, redis), (two, other) = site.gateway(), site.gateway()
        await site.use(one, 300)
        await site.use(two, 300)
        await site.use(one, 100)
        redis_server.stop()
        started = time.monotonic()
        await site.use(one, 200)
        assert time.monotonic() - started < 0.3
        assert "does not answer" in redis.problem
        await site.use(one, 100)
        with pytest.raises(Refusal, match="has used 1000"):
            await one.reserve(NORTH, 1)
        await site.use(two, 50)
        redis_server.start()
        for found, link in ((two, other), (one, redis)):
            assert await link.check()
            await found.say_all(today=True)
        assert site.used == 700 + 300 + 50
        for found in (one, two):
            with pytest.raises(Refusal, match="has used 1050"):
                await found.reserve(NORTH, 1)

    run(site, scenario)


def test_an_answer_that_ends_while_redis_is_away_counts(site, redis_server):
    async def scenario():
        found, redis = site.gateway()
        reservation = await found.reserve(NORTH, 500)
        redis_server.stop()
        reservation.settle(400)
        await asyncio.gather(*found._saying)
        redis_server.start()
        await redis.check()
        for _ in range(2):
            await found.say_all()
        assert site.used == 400

    run(site, scenario)


def test_a_redis_that_never_answers_costs_a_tenth_of_a_second(site, monkeypatch):
    monkeypatch.setattr(shared_redis, "TIMEOUT_S", 0.1)

    async def scenario():
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            nobody.listen(0)
            found, redis = site.gateway(redis_url=f"redis://127.0.0.1:{nobody.getsockname()[1]}/0")
            started = time.monotonic()
            await found.check_rate(NORTH)
            first = time.monotonic() - started
            await site.use(found, 10)
            assert first < 0.25
            assert time.monotonic() - started - first < 0.05
            assert redis._metrics.redis_failures._value.get() == 3

    run(site, scenario)


@pytest.mark.parametrize("password", ["right", "wrong", None])
def test_the_password_comes_from_a_file(site, tmp_path, password):
    with Redis(port=site.port) as redis:
        redis.config_set("requirepass", "right")
    try:

        async def scenario():
            file = tmp_path / "password"
            file.write_text(f"{password or ''}\n")
            found, redis = site.gateway(redis_password_file=str(file))
            await site.use(found, 10)
            await redis.check()
            assert ("" if password == "right" else "refuses the login") in redis.problem
            assert bool(redis.problem) == (password != "right")
            assert "redis_password_file" in redis.problem or not redis.problem
            assert "wrong" not in redis.problem.replace("WRONGPASS", "")

        run(site, scenario)
    finally:
        with Redis(port=site.port, password="right") as redis:
            redis.config_set("requirepass", "")


def test_a_missing_password_file_is_named(site):
    async def scenario():
        with pytest.raises(ConfigError, match=r"redis_password_file names, cannot be read"):
            site.gateway(redis_password_file="/nowhere/password")

    run(site, scenario)


def test_a_redis_that_takes_no_writes_counts_as_away(site):
    """A replica answers every question, and refuses to count."""
    with Redis(port=site.port) as redis:
        redis.replicaof("127.0.0.1", 1)
    try:

        async def scenario():
            found, redis = site.gateway()
            await site.use(found, 10)
            await redis.check()
            assert "ReadOnlyError" in redis.problem

        run(site, scenario)
    finally:
        with Redis(port=site.port) as redis:
            redis.replicaof("NO", "ONE")
