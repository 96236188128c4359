from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.traffic_split import Adapter, Route, place, side

KEY = b"k" * 32
CANARY, OTHER = Adapter("2", "two"), Adapter("3", "three")
PEOPLE = [f"p-{number}" for number in range(20_000)]
FOUR_SIGMA = 4 * (0.25 / len(PEOPLE)) ** 0.5


def on_canary(weight, canary=CANARY, key=KEY, tenant="north"):
    route = Route(canary=canary, canary_weight=weight)
    return {person for person in PEOPLE if side(route, key, tenant, person) == "canary"}


def test_the_share_is_the_weight():
    for weight in (0.05, 0.25, 0.5):
        assert abs(len(on_canary(weight)) / len(PEOPLE) - weight) < FOUR_SIGMA


def test_growing_the_weight_keeps_those_who_are_in():
    few, more, all_of_them = on_canary(0.05), on_canary(0.25), on_canary(1.0)
    assert few < more < all_of_them == set(PEOPLE)
    assert not on_canary(0.0)


def test_another_canary_tenant_or_key_draws_other_people():
    half = on_canary(0.5)
    for other in (
        on_canary(0.5, canary=OTHER),
        on_canary(0.5, tenant="south"),
        on_canary(0.5, key=b"o" * 32),
    ):
        assert abs(len(half & other) / len(PEOPLE) - 0.25) < FOUR_SIGMA  # as if independent


def test_without_a_canary_production_answers():
    assert side(Route(canary_weight=1.0), KEY, "north", "p-1") == "production"


@given(st.text(), st.text(), st.text())
def test_tenant_and_subject_are_not_run_together(tenant, subject, moved):
    assert 0 <= place(KEY, tenant, subject, "d") < 1
    if moved:
        assert place(KEY, tenant + moved, subject, "d") != place(KEY, tenant, moved + subject, "d")
