"""Requests are admitted if they can be answered in time; nothing is learned for good from a bad moment."""

from gateway.engines.base import CompletionRequest
from gateway.serving.capacity import TURN_S, Capacity

LONG, SHORT = (CompletionRequest([], max_tokens=tokens) for tokens in (200, 2))
CHOICE = CompletionRequest([], max_tokens=200, choices=("a", "b"))


def run(capacity, number, piece_s, pieces, request=LONG, start=0.0, is_whole=False):
    """`number` answers at once, each with so many pieces; returns the time when they end."""
    works = [capacity.begin(request, "north", start + 1e9, start) for _ in range(number)]
    now = start
    for _ in range(pieces):
        now += piece_s
        for work in works:
            capacity.note(work, now)
    for work in works:
        capacity.end(work, request, is_whole)
    return now


def test_an_idle_engine_takes_any_request():
    capacity = Capacity()
    run(capacity, 1, 10.0, 5)
    assert capacity.excess_s(LONG, "north", 1.0, 0.0) == 0


def test_without_experience_everything_is_admitted():
    capacity = Capacity()
    capacity.begin(LONG, "north", 1.0, 0.0)
    assert capacity.excess_s(LONG, "north", 1.0, 0.0) == 0


def test_what_cannot_be_done_in_time_is_refused():
    capacity = Capacity()
    run(capacity, 2, 0.1, 50)
    capacity.begin(LONG, "north", 100.0, 0.0)
    assert capacity.excess_s(LONG, "north", 10.0, 0.0) >= 1  # 200 pieces take 20 s
    assert capacity.excess_s(LONG, "north", 40.0, 0.0) == 0
    assert capacity.excess_s(CHOICE, "north", 10.0, 0.0) == 0


def test_one_more_must_not_make_the_others_late():
    capacity = Capacity()
    run(capacity, 1, 0.05, 50)
    run(capacity, 2, 0.1, 50)
    capacity.begin(LONG, "north", 15.0, 0.0)  # 10 s alone, 20 s with another long one
    assert capacity.excess_s(LONG, "north", 100.0, 0.0) >= 1
    assert capacity.excess_s(SHORT, "north", 100.0, 0.0) == 0  # which slows it down for two pieces only
    late = Capacity()
    run(late, 1, 0.05, 50)
    late.begin(LONG, "north", 5.0, 0.0)  # late anyway
    assert late.excess_s(SHORT, "north", 15.0, 0.0) == 0


def test_answers_shorter_than_allowed_make_room():
    capacity = Capacity()
    run(capacity, 2, 0.1, 50)
    for _ in range(60):
        run(capacity, 1, 0.1, 10, is_whole=True)  # of 200
    capacity.begin(LONG, "north", 100.0, 0.0)
    assert capacity.excess_s(LONG, "north", 10.0, 0.0) == 0


def test_short_answers_of_one_tenant_promise_nothing_of_another():
    capacity = Capacity()
    run(capacity, 2, 0.1, 50)
    for _ in range(60):
        run(capacity, 1, 0.1, 10, is_whole=True)  # of 200, by north
    capacity.begin(LONG, "north", 100.0, 0.0)
    assert capacity.excess_s(LONG, "north", 10.0, 0.0) == 0
    assert capacity.excess_s(LONG, "south", 10.0, 0.0) >= 1


def test_a_bad_moment_is_forgotten():
    """After it only one answer at a time is admitted; that one shows how fast the engine is again."""
    capacity = Capacity()
    run(capacity, 8, 5.0, 30)
    assert Capacity.excess_s(capacity, LONG, "north", 20.0, 0.0) == 0
    run(capacity, 1, 0.01, 100)
    capacity.begin(LONG, "north", 20.0, 0.0)
    assert capacity.excess_s(LONG, "north", 20.0, 0.0) == 0


def test_a_tenant_that_was_refused_is_next():
    """Of two tenants that both ask for more than there is, each gets a share."""
    capacity = Capacity()
    run(capacity, 2, 0.1, 50)
    works = [capacity.begin(LONG, "flood", 25.0, 0.0) for _ in range(2)]
    retry_s = capacity.excess_s(LONG, "south", 25.0, 0.0)
    assert retry_s >= 1
    capacity.end(works.pop(), LONG, True)  # room for one
    assert capacity.excess_s(LONG, "flood", 26.0, 1.0) == 1.0
    assert capacity.excess_s(LONG, "west", 26.0, 1.0) == 0  # has nothing under way either
    assert capacity.excess_s(LONG, "south", 26.0, 1.0) == 0
    capacity.begin(LONG, "south", 26.0, 1.0)
    capacity.end(works.pop(), LONG, True)
    assert capacity.excess_s(LONG, "flood", 26.0, 1.0) == 0


def test_a_turn_that_nobody_takes_ends():
    capacity = Capacity()
    run(capacity, 2, 0.1, 50)
    works = [capacity.begin(LONG, "flood", 25.0, 0.0) for _ in range(2)]
    until = capacity.excess_s(LONG, "south", 25.0, 0.0) + TURN_S
    capacity.end(works.pop(), LONG, True)
    assert capacity.excess_s(LONG, "flood", until + 24.9, until - 0.1) == 1.0
    assert capacity.excess_s(LONG, "flood", until + 25.1, until + 0.1) == 0
