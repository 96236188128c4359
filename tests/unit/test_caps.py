"""No person and no tenant starts or fills a training."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.core.config.training import Decide
from pipelines.core.contract import Verdict
from pipelines.policy.night.caps import (
    LEAST_PEOPLE,
    LEAST_ROWS,
    TenantFeedback,
    capped_by_person,
    limit_of_a_person,
    over_the_tenant_cap,
    person_limit,
    tenant_limit,
    weighed,
)
from pipelines.policy.night.decide import TrainingSituation, decide

COUNTS = st.lists(st.integers(0, 5_000), max_size=8)


def share_of_the_largest(counts, limit):
    capped = [min(count, limit) for count in counts]
    return max(capped) / sum(capped)


@given(COUNTS, st.floats(0.05, 1))
def test_no_tenant_holds_more_than_its_share(counts, most_share):
    limit = tenant_limit(counts, most_share)
    if sum(count >= LEAST_ROWS for count in counts) < 2:
        assert limit == max(counts, default=0)
        return
    most = max(most_share, 1 / len(counts))
    if limit:
        assert share_of_the_largest(counts, limit) <= most + 1e-9
    if limit < max(counts):
        assert share_of_the_largest(counts, limit + 1) > most


@given(COUNTS.filter(any), st.floats(0.05, 1), st.integers(0, 9))
def test_rows_are_drawn_down_to_the_cap(counts, most_share, seed):
    rows = [{"tenant": str(tenant)} for tenant, count in enumerate(counts) for _ in range(count)]
    gone = over_the_tenant_cap(rows, most_share, np.random.default_rng(seed))
    limit = tenant_limit([count for count in counts if count], most_share)
    assert len(gone) == sum(max(0, count - limit) for count in counts)
    assert len(set(gone)) == len(gone)


def test_a_lone_credential_may_stand_for_a_service():
    assert person_limit(1, 30) is None
    assert person_limit(LEAST_PEOPLE - 1, 30) is None
    assert person_limit(LEAST_PEOPLE, 30) == 30


def test_people_are_capped_from_how_many_gave_so_many():
    people = {"busy": {5_000: 1, 40: 2, 2: 10}, "small": {3: 2}}
    limit = limit_of_a_person(people, 30)
    assert limit == 30
    assert capped_by_person(people, limit) == {
        "busy": TenantFeedback(rows=5_100, capped=110, largest=[30, 30, 30]),
        "small": TenantFeedback(rows=6, capped=6, largest=[3, 3]),
    }
    assert limit_of_a_person({"lone": {5_000: 1}}, 30) is None
    assert capped_by_person({"lone": {5_000: 1}}, None)["lone"].capped == 5_000


def test_who_weighs_is_said():
    found = weighed(
        {
            "busy": TenantFeedback(rows=5_100, capped=130, largest=[30, 30, 30]),
            "small": TenantFeedback(rows=30, capped=30, largest=[2, 2, 2]),
        },
        most_share=0.8,
    )
    assert (found.rows, found.over_person, found.over_tenant) == (150, 4_970, 10)
    assert (found.largest_tenant, found.largest_tenant_share) == ("busy", 0.8)
    assert found.largest_people_share == 0.6
    assert found.in_words() == (
        "150 count: 4970 are more than one person may give and 10 are more than one tenant may give"
    )


def test_nothing_is_weighed_without_rows():
    found = weighed({}, 0.8)
    assert (found.rows, found.largest_tenant_share, found.in_words()) == (0, 0.0, "")


def test_one_scripts_likes_start_no_training():
    situation = TrainingSituation(
        corrections=0,
        likes=5_000,
        drift=False,
        nights_since_training=None,
        cpu_hours_30d=0,
        force=False,
        cause="schedule",
        not_counted=4_970,
    )
    decision = decide(situation, Decide())
    assert decision.verdict is Verdict.SKIP
    assert decision.reason.startswith("30 labelled rows count, of 5000: too few")
