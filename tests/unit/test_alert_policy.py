"""What an alert leads to: every rule, and what must hold whatever comes."""

from __future__ import annotations

import dataclasses
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.core.alerts import DAGS, Action, Alert, Cause, Delivery, Silence
from pipelines.core.config import AlertRule, Alerts
from pipelines.policy.alerts.arbitration import AlertState, rule_on
from pipelines.policy.alerts.firing import episodes, firing, firing_data_faults

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = Alerts()
TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


def ago(minutes):
    return NOW - timedelta(minutes=minutes)


def alert(cause=Cause.DRIFT, name="InputDrift", start=5, end=None, severity="warning", **labels):
    """An alert that started `start` minutes ago, and ended `end` minutes ago if it did."""
    over = None if end is None else ago(end)
    return Alert(name, cause, severity, labels, ago(start), over, f"{name}{sorted(labels.items())}")


def delivery(number, *alerts, received=1):
    return Delivery(f"d{number}", ago(received), alerts, TRACE)


def state(*deliveries, rulings=(), silences=(), promoted=None, ruled=()):
    unruled = frozenset(d.id for d in deliveries) - set(ruled)
    promoted_at = None if promoted is None else ago(promoted)
    return AlertState(NOW, deliveries, unruled, tuple(rulings), tuple(silences), promoted_at)


def only(known, rules=RULES):
    (ruling,) = rule_on(known, rules)
    return ruling


@pytest.mark.parametrize(
    ("cause", "action"),
    [
        (Cause.DATA_FAULT, Action.PAGE),
        (Cause.DRIFT, Action.RETRAIN),
        (Cause.QUALITY, Action.RETRAIN),
        (Cause.SERVING, Action.PAGE),
        (Cause.OVERLOAD, Action.SCALE),
        (Cause.FEATURES, Action.PAGE),
        (Cause.OPERATIONS, Action.PAGE),
        (Cause.COST, Action.PAGE),
    ],
)
def test_what_each_cause_leads_to(cause, action):
    ruling = only(state(delivery(1, alert(cause))))
    assert (ruling.cause, ruling.action, ruling.triggers, ruling.names) == (
        cause,
        action,
        ("d1",),
        ("InputDrift",),
    )
    assert "InputDrift has fired since 2026-03-02 11:55:00 UTC" in ruling.reason
    assert bool(ruling.dag_run_id) == (action in DAGS)
    assert ruling.traceparent == TRACE


def test_a_regression_shortly_after_a_promotion_is_rolled_back():
    known = state(delivery(1, alert(Cause.SERVING, "Errors", start=5)), promoted=20)
    ruling = only(known)
    assert (ruling.action, ruling.dag_id) == (Action.ROLLBACK, "rollback")
    assert "after the promotion of 2026-03-02 11:40:00 UTC" in ruling.reason


@pytest.mark.parametrize(("start", "promoted"), [(5, None), (30, 20), (5, 90)])
def test_an_older_or_much_later_regression_pages_a_person(start, promoted):
    known = state(delivery(1, alert(Cause.SERVING, "Errors", start=start)), promoted=promoted)
    assert only(known).action is Action.PAGE


def test_a_data_fault_holds_training_and_calls_a_person():
    known = state(delivery(1, alert()), delivery(2, alert(Cause.DATA_FAULT, "Nulls")))
    assert {r.cause: r.action for r in rule_on(known, RULES)} == {
        Cause.DATA_FAULT: Action.PAGE,
        Cause.DRIFT: Action.WAIT,
    }


def test_a_silenced_data_fault_still_holds_training():
    silence = Silence({"cause": "data_*"}, ago(-60), "ann", "known")
    known = state(delivery(1, alert()), delivery(2, alert(Cause.DATA_FAULT, "Nulls")), silences=[silence])
    assert [r.action for r in rule_on(known, RULES)] == [Action.IGNORE, Action.WAIT]


def test_training_that_was_held_starts_once_the_fault_is_over():
    fault, over = alert(Cause.DATA_FAULT, "Nulls"), alert(Cause.DATA_FAULT, "Nulls", end=1)
    known = state(delivery(1, alert()), delivery(2, fault), delivery(3, over), ruled=("d1", "d2"))
    assert [(r.cause, r.action, r.triggers) for r in rule_on(known, RULES)] == [
        (Cause.DATA_FAULT, Action.IGNORE, ("d3",)),
        (Cause.DRIFT, Action.RETRAIN, ("d1",)),
    ]


def test_a_resolved_alert_is_ruled_on_and_ignored():
    known = state(delivery(1, alert()), delivery(2, alert(end=2)))
    assert (only(known).action, only(known).triggers) == (Action.IGNORE, ("d1", "d2"))


def test_a_silence_covers_matching_alerts_and_says_whose():
    silence = Silence({"name": "Input*", "tenant": "north-?"}, ago(-60), "ann", "a known batch")
    muted = only(state(delivery(1, alert(tenant="north-1")), silences=[silence]))
    assert muted.action is Action.IGNORE
    assert "by ann until 2026-03-02 13:00:00 UTC (a known batch)" in muted.reason
    assert only(state(delivery(1, alert(tenant="south-1")), silences=[silence])).action is Action.RETRAIN


def test_severity_info_alone_is_ignored():
    assert only(state(delivery(1, alert(severity="info")))).action is Action.IGNORE
    known = state(delivery(1, alert(severity="info"), alert(name="Other")))
    assert only(known).action is Action.RETRAIN


def test_severity_info_is_left_out_of_a_ruling():
    quiet = alert(Cause.SERVING, "AInfo", start=5, severity="info")
    ruling = only(state(delivery(1, quiet), delivery(2, alert(Cause.SERVING, "Slow", 45)), promoted=10))
    assert (ruling.action, ruling.names, ruling.triggers) == (Action.PAGE, ("Slow",), ("d1", "d2"))
    assert ruling.reason == "Slow has fired since 2026-03-02 11:15:00 UTC: a person should look."


def test_severity_info_does_not_count_in_windows():
    rules = RULES.model_copy(update={"drift": AlertRule(k=2, n=3, window_s=600)})
    known = state(delivery(1, alert(name="AInfo", start=25, severity="info"), alert()))
    assert only(known, rules).action is Action.WAIT


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_data_fault_says_that_training_is_held(severity):
    fault = delivery(1, alert(Cause.DATA_FAULT, "Nulls", severity=severity))
    assert only(state(fault)).reason.endswith(" Training is held until this is resolved.")
    over = state(fault, delivery(2, alert(Cause.DATA_FAULT, "Nulls", end=1, severity=severity)))
    assert "held" not in only(over).reason
    assert "held" not in only(state(delivery(1, alert()))).reason


def test_an_unknown_cause_is_named():
    odd = dataclasses.replace(alert(Cause.OPERATIONS, "Late"), unknown_cause="data-fault")
    assert only(state(delivery(1, odd))).reason == (
        "Late has fired since 2026-03-02 11:55:00 UTC (unknown cause 'data-fault', taken as operations): "
        "a person should look."
    )


def test_an_alert_is_described_on_one_line():
    labels = {
        "alertname": "Late",
        "severity": "critical",
        "cause": "cost",
        "tenant": "campus",
        "job": "a\x1b[2J",
    }
    notes = {"summary": "No rows\nsince noon.", "runbook": "docs/x.md#late", "other": "not said"}
    one = dataclasses.replace(alert(name="Late", severity="critical"), labels=labels, annotations=notes)
    assert (
        one.described() == "critical Late | job=a [2J, tenant=campus | No rows since noon. | docs/x.md#late"
    )
    assert alert(severity="warning").described() == "warning InputDrift"
    long = dataclasses.replace(one, annotations={"summary": "x" * 10_000})
    assert len(long.described()) < 400


def test_a_series_is_told_once():
    told = [delivery(n, alert(Cause.COST, "Budget", start=9 - n, tenant="a")) for n in range(3)]
    ruling = only(state(*told, delivery(9, alert(Cause.COST, "Budget", tenant="b"))))
    assert [(a.details, a.starts_at) for a in ruling.alerts] == [
        ({"tenant": "a"}, ago(7)),
        ({"tenant": "b"}, ago(5)),
    ]


def test_the_same_action_waits_for_the_cool_down():
    known = state(delivery(1, alert()))
    first = dataclasses.replace(only(known), at=ago(60))
    again = state(delivery(1, alert()), delivery(2, alert()), rulings=[first], ruled=["d1"])
    assert only(again).action is Action.WAIT
    assert "not repeated before 2026-03-03 11:00:00 UTC" in only(again).reason
    short = RULES.model_copy(update={"drift": AlertRule(cool_down_s=1800)})
    assert only(again, short).action is Action.RETRAIN


def test_what_still_fires_after_the_cool_down_is_due():
    first = dataclasses.replace(only(state(delivery(1, alert()))), at=ago(60))
    known = state(delivery(1, alert()), rulings=[first], ruled=["d1"])
    assert rule_on(known, RULES) == []
    assert only(known, RULES.model_copy(update={"drift": AlertRule(cool_down_s=60)})).action is Action.RETRAIN


def test_people_hear_of_each_alert_name_once():
    first = only(state(delivery(1, alert(Cause.OPERATIONS, "Disk"))))
    same = state(
        delivery(2, alert(Cause.OPERATIONS, "Disk")), rulings=[dataclasses.replace(first, at=ago(5))]
    )
    assert only(same).action is Action.WAIT
    other = state(delivery(2, alert(Cause.OPERATIONS, "Stuck")), rulings=same.rulings)
    assert only(other).action is Action.PAGE


@pytest.mark.parametrize(
    ("times", "action"),
    [
        ([(5, None)], Action.WAIT),  # one of three ten-minute windows
        ([(15, None)], Action.RETRAIN),  # it fired since, so in two
        ([(28, 25), (5, None)], Action.RETRAIN),  # it came back
        ([(50, 45), (5, None)], Action.WAIT),  # the first is too long ago
    ],
)
def test_k_of_n_windows(times, action):
    rules = RULES.model_copy(update={"drift": AlertRule(k=2, n=3, window_s=600)})
    told = [alert(start=start) for start, _ in times]
    told += [alert(start=start, end=end) for start, end in times if end is not None]
    assert only(state(*(delivery(n, a) for n, a in enumerate(told))), rules).action is action


def test_an_alert_that_nobody_repeats_expires():
    known = state(delivery(1, alert(start=60 * 26), received=60 * 25))
    assert only(known).action is Action.IGNORE
    repeated = state(delivery(1, alert(start=60 * 26), received=60 * 25), delivery(2, alert(start=60 * 26)))
    assert only(repeated).action is Action.RETRAIN


def test_a_delivery_with_several_causes_is_ruled_on_for_each():
    rulings = rule_on(state(delivery(1, alert(), alert(Cause.COST, "Budget"))), RULES)
    assert [(r.cause, r.triggers) for r in rulings] == [(Cause.DRIFT, ("d1",)), (Cause.COST, ("d1",))]


ALERTS = st.builds(
    alert,
    cause=st.sampled_from(list(Cause)),
    name=st.sampled_from(["A", "B"]),
    start=st.sampled_from([10, 20, 30, 3000]),
    end=st.none() | st.integers(0, 9),
    severity=st.sampled_from(["critical", "warning", "info"]),
)
DELIVERIES = st.lists(st.lists(ALERTS, min_size=1, max_size=3), max_size=12)


@given(DELIVERIES, st.randoms(use_true_random=False))
def test_the_order_of_deliveries_changes_nothing(many, shuffler):
    told = [delivery(number, *alerts) for number, alerts in enumerate(many)]
    mixed = shuffler.sample(told, len(told))
    assert rule_on(state(*told), RULES) == rule_on(state(*mixed), RULES)


@given(DELIVERIES, st.integers(0, 12))
def test_every_delivery_is_accounted_for_and_a_cause_runs_once(many, first):
    told = [delivery(number, *alerts) for number, alerts in enumerate(many)]
    earlier = rule_on(state(*told[:first]), RULES)
    later = rule_on(state(*told, rulings=earlier, ruled=[d.id for d in told[:first]]), RULES)
    rulings = [*earlier, *later]
    for one in told:
        ruled = {r.cause for r in rulings if one.id in r.triggers}
        assert ruled == {a.cause for a in one.alerts}
    runs = [r.cause for r in rulings if r.dag_id]
    assert len(runs) == len(set(runs))
    assert len({r.id for r in rulings}) == len(rulings)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 2**32))
def test_ten_thousand_alerts_start_at_most_one_run_a_cause(seed):
    """They come shuffled, repeated, with resolutions between, and are dispatched meanwhile."""
    rng = random.Random(seed)
    many = [
        delivery(
            number,
            alert(
                rng.choice(list(Cause)),
                f"A{rng.randrange(50)}",
                start=rng.uniform(1, 30),
                end=rng.choice([None, None, rng.uniform(0, 1)]),
                pod=str(rng.randrange(20)),
            ),
            received=rng.uniform(0, 1),
        )
        for number in range(10_000)
    ]
    rulings, ruled, reached = [], set(), 0
    while reached < len(many):
        reached += rng.randrange(1, 4000)
        for ruling in rule_on(state(*many[:reached], rulings=rulings, ruled=ruled, promoted=30), RULES):
            rulings.append(ruling)
            ruled |= set(ruling.triggers)
    assert ruled == {one.id for one in many}
    runs = [ruling.cause for ruling in rulings if ruling.dag_id]
    assert sorted(runs) == sorted(set(runs))
    assert set(runs) <= {Cause.DRIFT, Cause.QUALITY, Cause.SERVING}


def test_only_data_faults_that_still_fire_hold_training():
    told = [
        delivery(1, alert(Cause.DATA_FAULT, "Nulls"), alert(Cause.DRIFT)),
        delivery(2, alert(Cause.DATA_FAULT, "Late")),
        delivery(3, alert(Cause.DATA_FAULT, "Late", end=1)),
    ]
    assert firing_data_faults(told, NOW, RULES.expires_s) == ["Nulls"]
    assert firing_data_faults(told, NOW + timedelta(days=2), RULES.expires_s) == []


def test_a_resolution_ends_only_what_began_before_it():
    told = [delivery(1, alert(start=30)), delivery(2, alert(start=30, end=20)), delivery(3, alert(start=10))]
    found = list(episodes(told, NOW, RULES.expires_s))
    assert [(e.start, e.end) for e in found] == [(ago(30), ago(20)), (ago(10), None)]
    assert [e.start for e in firing(found)] == [ago(10)]
