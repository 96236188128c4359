"""Requests are admitted if they can be answered in time; nothing is learned for good from a bad moment."""

from gateway.engines.base import CompletionRequest
from gateway.serving.capacity import Capacity

LONG, SHORT = (CompletionRequest([], max_tokens=tokens) for tokens in (200, 2))
CHOICE = CompletionRequest([], max_tokens=200, choices=("a", "b"))


def run(capacity, number, piece_s, pieces, request=LONG, start=0.0, is_whole=False):
    """`number` answers at once, each with so many pieces; returns the time when they end."""
    works = [capacity.begin(request, start + 1e9, start) for _ in range(number)]
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
    assert capacity.excess_s(LONG, 1.0, 0.0) == 0


def test_without_experience_everything_is_admitted():
    capacity = Capacity()
    capacity.begin(LONG, 1.0, 0.0)
    assert capacity.excess_s(LONG, 1.0, 0.0) == 0


def test_what_cannot_be_done_in_time_is_refused():
    capacity = Capacity()
    run(capacity, 2, 0.1, 50)
    capacity.begin(LONG, 100.0, 0.0)
    assert capacity.excess_s(LONG, 10.0, 0.0) >= 1  # 200 pieces take 20 s
    assert capacity.excess_s(LONG, 40.0, 0.0) == 0
    assert capacity.excess_s(CHOICE, 10.0, 0.0) == 0


def test_one_more_must_not_make_the_others_late():
    capacity = Capacity()
    run(capacity, 1, 0.05, 50)
    run(capacity, 2, 0.1, 50)
    capacity.begin(LONG, 15.0, 0.0)  # 10 s alone, 20 s with another long one
    assert capacity.excess_s(LONG, 100.0, 0.0) >= 1
    assert capacity.excess_s(SHORT, 100.0, 0.0) == 0  # which slows it down for two pieces only
    late = Capacity()
    run(late, 1, 0.05, 50)
    late.begin(LONG, 5.0, 0.0)  # late anyway
    assert late.excess_s(SHORT, 15.0, 0.0) == 0


def test_answers_shorter_than_allowed_make_room():
    capacity = Capacity()
    run(capacity, 2, 0.1, 50)
    for _ in range(60):
        run(capacity, 1, 0.1, 10, is_whole=True)  # of 200
    capacity.begin(LONG, 100.0, 0.0)
    assert capacity.excess_s(LONG, 10.0, 0.0) == 0


def test_a_bad_moment_is_forgotten():
    """After it only one answer at a time is admitted; that one shows how fast the engine is again."""
    capacity = Capacity()
    run(capacity, 8, 5.0, 30)
    assert Capacity.excess_s(capacity, LONG, 20.0, 0.0) == 0
    run(capacity, 1, 0.01, 100)
    capacity.begin(LONG, 20.0, 0.0)
    assert capacity.excess_s(LONG, 20.0, 0.0) == 0
