"""When a promotion takes effect on several gateways, and what one may do that lost contact."""

import pytest

from pipelines.core.barrier import PeerAnswer, SeenGateway, Trust, living, not_ready, trust, waiting_words
from pipelines.core.traffic_split import (
    Adapter,
    Route,
    aborted,
    is_forward,
    rolled_back,
    to_canary,
    to_shadow,
)

ONE, TWO = Adapter("1", "a"), Adapter("2", "b")
SHADOW = to_shadow(Route(production=ONE), TWO)
CANARY = to_canary(SHADOW, TWO, 0.1)
LARGER = to_canary(SHADOW, TWO, 0.5)
AFTER = Route(production=TWO, previous=ONE, has_previous=True)
FIRST = Route(production=ONE, has_previous=True)  # after the bare base model


@pytest.mark.parametrize(
    ("before", "after", "forward"),
    [
        (Route(), Route(shadow=ONE), True),
        (Route(production=ONE), SHADOW, True),
        (SHADOW, CANARY, True),
        (CANARY, LARGER, True),
        (LARGER, AFTER, True),
        (Route(), Route(production=ONE), True),
        (CANARY, CANARY, False),
        (LARGER, CANARY, False),
        (CANARY, SHADOW, False),
        (LARGER, aborted(LARGER), False),
        (SHADOW, aborted(SHADOW), False),
        (AFTER, rolled_back(AFTER), False),
        (FIRST, rolled_back(FIRST), False),
        (Route(production=ONE), Route(), True),  # not what answered before
        (Route(production=ONE), rolled_back(AFTER), False),  # it missed the move that is rolled back
        (SHADOW, rolled_back(AFTER), False),
    ],
)
def test_which_moves_give_an_adapter_more(before, after, forward):
    assert is_forward(before, after) is forward


def seen(name, ready_for=5, live=4, silent_s=0.0, problem=""):
    return SeenGateway(name, f"http://{name}", "", ready_for, live, problem, silent_s)


def test_a_move_waits_for_all_that_live():
    fleet = [
        seen("ready"),
        seen("dead", 4, silent_s=11),
        seen("loads", 4),
        seen("broken", 4, problem="no disk"),
    ]
    assert [one.id for one in living(fleet, 10)] == ["ready", "loads", "broken"]
    assert [one.id for one in not_ready(5, fleet, 10)] == ["loads", "broken"]
    words = waiting_words(5, fleet, 10)
    assert words == "promotion 5 waits for http://loads (it loads the adapters), http://broken (no disk)"
    assert not_ready(5, [seen("ready"), seen("there already", 4, live=5)], 10) == []
    assert waiting_words(5, fleet[:2], 10) == ""


ALIVE, OTHER = PeerAnswer(True, 4), PeerAnswer(True, 5)
BLIND, GONE, STARTING = PeerAnswer(False, 4), PeerAnswer(None), PeerAnswer(True)


@pytest.mark.parametrize(
    ("silent_s", "peers", "found"),
    [
        (9.0, [OTHER], Trust.ALL),  # it has contact itself
        (11.0, [ALIVE], Trust.ALL),
        (11.0, [ALIVE, BLIND, GONE], Trust.ALL),
        (11.0, [OTHER], Trust.NOTHING),
        (11.0, [ALIVE, OTHER], Trust.NOTHING),
        (11.0, [PeerAnswer(True, 3)], Trust.NOTHING),
        (11.0, [BLIND], Trust.ALL),  # the database is away for all, so nobody moves traffic
        (11.0, [BLIND, BLIND], Trust.ALL),
        (11.0, [BLIND, GONE], Trust.PRODUCTION),
        (11.0, [GONE], Trust.PRODUCTION),
        (11.0, [STARTING], Trust.PRODUCTION),  # somebody has contact, and cannot tell
        (11.0, [], Trust.ALL),  # there never was another one
    ],
)
def test_what_a_gateway_without_contact_may_answer_by(silent_s, peers, found):
    assert trust(silent_s, 10.0, 4, peers) is found


@pytest.mark.parametrize("before", Trust)
@pytest.mark.parametrize(("live", "is_behind"), [(3, True), (4, False), (5, False)])
def test_contact_that_is_back_counts_once_the_split_is_live(before, live, is_behind):
    assert trust(1.0, 10.0, live, [], in_effect=4, before=before) is (before if is_behind else Trust.ALL)
