"""Limits of tenants, with the same tests for one process's memory and for a real Redis."""

import asyncio
import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from gateway.errors import Refusal
from gateway.metrics import Metrics
from gateway.serving import quotas, shared_redis
from gateway.serving.quotas import DAY_S, Quotas, estimate_tokens
from gateway.serving.shared_redis import SharedRedis
from pipelines.core.config import Config
from tests.support.fuzz import examples

NORTH, SOUTH = "north-clinic", "south-clinic"
pytestmark = pytest.mark.usefixtures("patient")
IN_BOTH = pytest.mark.parametrize("where", ["memory", "redis"])


@pytest.fixture(scope="module")
def patient():
    """A busy machine is no lost Redis."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shared_redis, "TIMEOUT_S", 20.0)
        yield


@pytest.fixture
def clock(monkeypatch):
    now = [10 * DAY_S + 100.0]
    monkeypatch.setattr(quotas.time, "time", lambda: now[0])
    return now


class Limited:
    """Quotas in memory or in an empty Redis, and more gateways of the same Redis."""

    def __init__(self, where, server):
        self.port = server().port if where == "redis" else None
        if self.port:
            with Redis(port=self.port) as redis:
                redis.flushall()
        self.made = []

    def gateway(self, tokens=100, requests=1000, life_s=60):
        limits = {"tokens_per_day": tokens, "requests_per_minute": requests}
        url = f"redis://127.0.0.1:{self.port}/0" if self.port else ""
        gateway = {
            "limits": limits,
            "redis_url": url,
            "timeout_s": life_s / 2,
            "client_timeout_s": life_s / 2,
        }
        config = Config(profile="test", gateway=gateway)
        redis = SharedRedis(config, Metrics()) if url else None
        found = Quotas(config.gateway, redis)
        self.made.append((found, redis))
        return found

    async def settled(self):
        """Wait until every gateway's answers are counted."""
        for found, _ in self.made:
            await asyncio.gather(*found._saying)

    async def close(self):
        for found, redis in self.made:
            await found.close()
            if redis:
                await redis.close()


@pytest.fixture
def limited(where, request):
    return Limited(where, lambda: request.getfixturevalue("redis_server"))


def in_a_loop(test):
    """Run an async test that has the fixture `limited`, and close its gateways."""

    @functools.wraps(test)
    def run(limited, **fixtures):
        async def whole():
            try:
                await test(limited, **fixtures)
            finally:
                await limited.close()

        asyncio.run(whole())

    return run


async def refused(found, tenant=NORTH):
    with pytest.raises(Refusal) as raised:
        await found.reserve(tenant, 1)
    return raised.value


@IN_BOTH
@in_a_loop
async def test_what_is_set_aside_counts_at_once(limited, clock):
    found = limited.gateway()
    first = await found.reserve(NORTH, 100)
    error = await refused(found)
    assert (error.status, error.code) == (429, "quota_exceeded")
    assert error.headers["Retry-After"] == "1"  # the answer under way may use less
    await found.reserve(SOUTH, 100)
    first.settle(10)
    await limited.settled()
    await found.reserve(NORTH, 90)


@IN_BOTH
@in_a_loop
async def test_used_tokens_wait_for_the_next_day(limited, clock):
    found = limited.gateway()
    (await found.reserve(NORTH, 10)).settle(100)
    await limited.settled()
    assert (await refused(found)).headers["Retry-After"] == str(DAY_S - 100)
    clock[0] += DAY_S
    await found.reserve(NORTH, 1)


@IN_BOTH
@in_a_loop
async def test_a_reservation_settles_once(limited, clock):
    found = limited.gateway()
    reservation = await found.reserve(NORTH, 60)
    for _ in range(3):
        reservation.settle(50)
    await limited.settled()
    for tokens in (49, 1):
        (await found.reserve(NORTH, tokens)).settle(tokens)
        await limited.settled()
    await refused(found)


@IN_BOTH
@in_a_loop
async def test_an_answer_over_midnight_counts_on_its_own_day(limited, clock):
    found = limited.gateway()
    reservation = await found.reserve(NORTH, 100)
    clock[0] += DAY_S
    reservation.settle(0)
    for tokens in (99, 1):  # nothing was given back to the new day
        (await found.reserve(NORTH, tokens)).settle(tokens)
        await limited.settled()
    await refused(found)


ANSWERS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=40)


@given(answers=ANSWERS)
@settings(max_examples=examples())
def test_any_order_of_answers_keeps_the_count(answers):
    in_a_loop(_any_order)(Limited("memory", None), answers=answers)


@given(answers=ANSWERS)
@settings(max_examples=examples())
def test_any_order_keeps_the_count_of_two_gateways(redis_server, answers):
    in_a_loop(_any_order)(Limited("redis", lambda: redis_server), answers=answers)


async def _any_order(limited, answers):
    """Two gateways answer in turns, and either is asked about the sum."""
    gateways = [limited.gateway(10**9), limited.gateway(10**9)] if limited.port else [limited.gateway(10**9)]
    under_way, used = [], 0
    for number, (reserved, needed, at_once) in enumerate(answers):
        found = gateways[number % len(gateways)]
        under_way.append((await found.reserve(NORTH, reserved), needed))
        if at_once:
            reservation, tokens = under_way.pop(0)
            reservation.settle(tokens)
            used += tokens
    await limited.settled()
    assert await sums(gateways[0]) == (used, sum(one._tokens for one, _ in under_way))
    for reservation, tokens in under_way:
        reservation.settle(tokens)
    await limited.settled()
    assert await sums(gateways[-1]) == (sum(needed for _, needed, _ in answers), 0)


async def sums(found):
    """The day's tokens: (used, set aside), as a new request finds them."""
    day = found._use(NORTH)
    if not found._shared:
        return day.used, day.reserved
    others, reserved = await found._shared.reserve(day.name, day.own, 0, "none", 1)
    return day.own + others, reserved


@IN_BOTH
@in_a_loop
async def test_a_minute_says_when_to_try_again(limited):
    found = limited.gateway(requests=2)
    for _ in range(2):
        await found.check_rate(NORTH)
    with pytest.raises(Refusal, match="2 requests per minute") as raised:
        await found.check_rate(NORTH)
    assert 1 <= int(raised.value.headers["Retry-After"]) <= 60
    await found.check_rate(SOUTH)


def test_the_estimate_grows_with_prompt_and_answer():
    assert estimate_tokens(0, 64) == 64
    assert estimate_tokens(10, 64) == 68
