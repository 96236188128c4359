"""Pending, tried, learned: every delivery is in one state through any history, and none is lost."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.learned import WORLDS, year
from pipelines.policy.night.row_states import Training, row_states, stayed_in_production
from tests.support.fuzz import examples

FIRST = date(2026, 1, 1)
N1, N2, N3, N4 = (FIRST + timedelta(days=n) for n in range(4))
LAKE = {N1: "d1", N2: "d2", N3: "d3"}


def states(trainings, *moves, lake=LAKE):
    found = row_states(lake, trainings, stayed_in_production(moves))
    return found.pending, found.tried, found.learned


def test_a_training_tries_and_production_learns():
    trained = [Training(N1, "a", deliveries={N1: "d1"})]
    assert states([]) == ((N1, N2, N3), (), ())
    assert states(trained) == ((N2, N3), (N1,), ())
    assert states(trained, ("shadow", None), ("production", "a")) == ((N2, N3), (), (N1,))


def test_a_rollback_makes_rows_tried_again():
    trained = [Training(N1, "a", deliveries={N1: "d1"}), Training(N2, "b", "a", {N2: "d2"})]
    moves = [("production", "a"), ("shadow", "a"), ("production", "b"), ("rollback", "a")]
    assert states(trained, *moves[:3]) == ((N3,), (), (N1, N2))
    assert states(trained, *moves) == ((N3,), (N2,), (N1,))
    assert states(trained, *moves, ("rollback", None)) == ((N3,), (N1, N2), ())
    assert states(trained, *moves, ("production", "b")) == ((N3,), (), (N1, N2)), "promoted after all"


def test_an_aborted_rollout_leaves_rows_tried():
    trained = [Training(N1, "a", deliveries={N1: "d1"}), Training(N2, "b", "a", {N2: "d2"})]
    moves = [("production", "a"), ("shadow", "a"), ("canary_05", "a"), ("abort", "a")]
    assert states(trained, *moves) == ((N3,), (N2,), (N1,))
    ended_by_rollback = [("production", "a"), ("production", "c"), ("shadow", "c"), ("rollback", "a")]
    assert states(trained, *ended_by_rollback) == ((N3,), (N2,), (N1,))


def test_a_parents_rows_are_learned_with_its_child():
    trained = [Training(N1, "a", deliveries={N1: "d1"}), Training(N2, "b", "a", {N2: "d2"})]
    moves = [("production", "a"), ("rollback", None), ("production", "b")]
    assert states(trained, *moves) == ((N3,), (), (N1, N2))


def test_another_delivery_of_a_night_is_pending():
    trained = [Training(N1, "a", deliveries={N1: "d1", N2: "d2"})]
    assert states(trained, ("production", "a"), lake=LAKE | {N2: "mended"}) == ((N2, N3), (), (N1,))


def test_a_missed_night_is_pending_whenever_it_comes():
    late = {N1: "d1", N3: "d3"}
    trained = [Training(N3, "a", deliveries=late)]
    assert states(trained, ("production", "a"), lake=late) == ((), (), (N1, N3))
    assert states(trained, ("production", "a")) == ((N2,), (), (N1, N3))


def test_older_records_learned_what_came_since_the_last():
    old = [Training(N1, "a"), Training(N3, "b", "a")]
    assert states(old, ("production", "a")) == ((), (N2, N3), (N1,))
    assert states(old, lake=LAKE | {N4: "d4"}) == ((N4,), (N1, N2, N3), ())


class World:
    """Nights as the product runs them: unlearned rows are trained on, and no set is twice."""

    def __init__(self) -> None:
        self.lake: dict[date, str] = {}
        self.trainings: list[Training] = []
        self.moves: list[tuple[str, str | None]] = []
        self.previous: list[str | None] = []  # what a rollback goes back to, at most one
        self.sets: set[object] = set()

    @property
    def production(self) -> str | None:
        return self.moves[-1][1] if self.moves else None

    def states(self):
        return row_states(self.lake, self.trainings, stayed_in_production(self.moves))

    def train(self, night: date) -> None:
        drawn = {one: self.lake[one] for one in self.states().unlearned if one <= night}
        identity = (frozenset(drawn.items()), self.production)
        if not drawn or identity in self.sets:
            return
        self.sets.add(identity)
        name = f"adapter {len(self.trainings)}"
        self.trainings.append(Training(night, name, self.production, drawn))

    def promote(self) -> None:
        if self.trainings:
            self.previous = [self.production]
            self.moves.append(("production", self.trainings[-1].adapter))

    def roll_back(self) -> None:
        if self.previous:
            self.moves.append(("rollback", self.previous.pop()))


def in_production(world: World) -> set[tuple[date, str]]:
    """The deliveries that are in the weights of what answers users, by following parents."""
    by_name = {one.adapter: one for one in world.trainings}
    found, link = set[tuple[date, str]](), world.production
    while link is not None:
        found |= set(by_name[link].deliveries.items())
        link = by_name[link].parent
    return found


@settings(max_examples=examples(), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["deliver", "train", "promote", "roll back"])),
        max_size=60,
    )
)
def test_in_any_history_every_row_is_in_one_state(events):
    world = World()
    for number, (day, event) in enumerate(events):
        night = FIRST + timedelta(days=day)
        if event == "deliver":  # in any order, late ones and second deliveries too
            world.lake[night] = f"bytes {number // 7}"
        elif event == "train":
            world.train(night)
        elif event == "promote":
            world.promote()
        else:
            world.roll_back()
        found = world.states()
        every = [*found.pending, *found.tried, *found.learned]
        assert sorted(every) == sorted(world.lake), "each delivery once"
        assert {(one, world.lake[one]) for one in found.learned} >= in_production(world) & set(
            world.lake.items()
        )
        ever = set().union(*(one.deliveries.items() for one in world.trainings))
        assert not {(one, world.lake[one]) for one in found.pending} & ever, "pending was never trained on"


def test_a_year_of_rejections_and_rollbacks_loses_no_row():
    never_learned, trainings = year("by_state", *WORLDS["all of it"], seed=0)
    assert never_learned == 0
    assert trainings > 200
    assert year("since_last", *WORLDS["all of it"], seed=0)[0] > 0.5, "the older rule loses most"


def test_a_year_of_nights_may_stay_tried():
    year = {FIRST + timedelta(days=n): f"d{n}" for n in range(365)}
    every = list(year)
    trained = [
        Training(night, f"a{n}", None, {one: year[one] for one in every[: n + 1]})
        for n, night in enumerate(every)
    ]
    assert row_states(year, trained, set()).tried == tuple(every)
    assert row_states(year, trained, {"a99"}).learned == tuple(every[:100])
