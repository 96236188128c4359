import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Refusal
from gateway.serving import quotas
from gateway.serving.quotas import DAY_S, Quotas, estimate_tokens
from pipelines.core.config import Gateway, TenantLimits

NORTH = "north-clinic"


@pytest.fixture
def clock(monkeypatch):
    now = [10 * DAY_S + 100.0]
    monkeypatch.setattr(quotas.time, "time", lambda: now[0])
    return now


def limited(tokens=100, requests=1000):
    return Quotas(Gateway(limits=TenantLimits(tokens_per_day=tokens, requests_per_minute=requests)))


def refused(found, tenant=NORTH):
    with pytest.raises(Refusal) as raised:
        found.reserve(tenant, 1)
    return raised.value


def test_what_is_set_aside_counts_at_once(clock):
    found = limited()
    first = found.reserve(NORTH, 100)
    error = refused(found)
    assert (error.status, error.code) == (429, "quota_exceeded")
    assert error.headers["Retry-After"] == "1"  # the answer under way may use less
    found.reserve("south-clinic", 100)
    first.settle(10)
    found.reserve(NORTH, 90)


def test_used_tokens_wait_for_the_next_day(clock):
    found = limited()
    found.reserve(NORTH, 10).settle(100)
    assert refused(found).headers["Retry-After"] == str(DAY_S - 100)
    clock[0] += DAY_S
    found.reserve(NORTH, 1)


def test_a_reservation_settles_once(clock):
    found = limited()
    reservation = found.reserve(NORTH, 60)
    for _ in range(3):
        reservation.settle(50)
    found.reserve(NORTH, 49).settle(49)
    found.reserve(NORTH, 1).settle(1)
    refused(found)


def test_an_answer_over_midnight_counts_on_its_own_day(clock):
    found = limited()
    reservation = found.reserve(NORTH, 100)
    clock[0] += DAY_S
    reservation.settle(0)
    found.reserve(NORTH, 99).settle(99)  # nothing was given back to the new day
    found.reserve(NORTH, 1).settle(1)
    refused(found)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans()), max_size=40))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_order_of_answers_keeps_the_count(answers):
    found, under_way, used = limited(10**9), [], 0
    for reserved, needed, at_once in answers:
        under_way.append((found.reserve(NORTH, reserved), needed))
        if at_once:
            reservation, tokens = under_way.pop(0)
            reservation.settle(tokens)
            used += tokens
    day = found._use(NORTH)
    assert day.used == used
    assert day.reserved >= 0
    for reservation, tokens in under_way:
        reservation.settle(tokens)
    assert (day.reserved, day.used) == (0, sum(needed for _, needed, _ in answers))


def test_a_minute_says_when_to_try_again():
    found = limited(requests=2)

    async def ask():
        for _ in range(3):
            await found.check_rate(NORTH)

    with pytest.raises(Refusal, match="2 requests per minute") as raised:
        asyncio.run(ask())
    assert 1 <= int(raised.value.headers["Retry-After"]) <= 60


def test_the_estimate_grows_with_prompt_and_answer():
    assert estimate_tokens(0, 64) == 64
    assert estimate_tokens(10, 64) == 68
