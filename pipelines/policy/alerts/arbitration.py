"""What is done about the alerts that were delivered. Pure.

All alerts of a cause are ruled on together, so a cause starts at most one run at a time, however many alerts
come and in whatever order. The rules are tried in this order, and the first that applies decides:

| rule      | applies when                                                          | action    |
|-----------|-----------------------------------------------------------------------|-----------|
| over      | no alert of the cause fires any more                                  | ignore    |
| silenced  | all of those that fire are silenced                                   | ignore    |
| minor     | the others have severity `info`; beside alerts of another severity    | ignore    |
|           | those of severity `info` do not count                                 |           |
| held      | the cause leads to training, and a data fault fires (silenced or not) | wait      |
| rare      | they fired in fewer than `k` of the last `n` windows of `window_s`    | wait      |
| cooling   | the same was done less than `cool_down_s` ago (a page: for that name) | wait      |
| otherwise | what `Cause` says. A serving regression that began within             | retrain,  |
|           | `after_promotion_s` of a promotion is a rollback, any other is a page | page, ... |

A cause that waits is ruled on again while its alerts fire. An alert that nobody repeats for `expires_s`
seconds is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipelines.core.alerts import (
    DAGS,
    INFO,
    Action,
    Cause,
    Delivery,
    Ruling,
    Silence,
    each_once,
    silenced,
)
from pipelines.core.config import AlertRule, Alerts
from pipelines.policy.alerts import reasons
from pipelines.policy.alerts.firing import Episode, episodes, firing

LEADS_TO = dict.fromkeys(Cause, Action.PAGE) | {
    Cause.DRIFT: Action.RETRAIN,
    Cause.QUALITY: Action.RETRAIN,
    Cause.OVERLOAD: Action.SCALE,
}


@dataclass(frozen=True)
class AlertState:
    """All that the rules look at. `deliveries` reach back to `horizon`, and hold every unruled one."""

    now: datetime
    deliveries: Sequence[Delivery]
    unruled: frozenset[str]
    rulings: Sequence[Ruling]
    silences: Sequence[Silence]  # those that have not expired
    promoted_at: datetime | None  # when production changed, if a rollback would undo just that


@dataclass(frozen=True)
class _Finding:
    """What the rules say of one cause, and the episodes that the action is about."""

    action: Action
    reason: str
    acted_on: Sequence[Episode] = ()


def horizon(now: datetime, settings: Alerts) -> datetime:
    """The oldest time that a ruling depends on."""
    rules = [_limits(settings, cause) for cause in Cause]
    spans = [max(rule.cool_down_s, rule.n * rule.window_s) for rule in rules]
    return now - timedelta(seconds=max(settings.expires_s, settings.start_within_s, *spans))


def rule_on(state: AlertState, settings: Alerts) -> list[Ruling]:
    """One ruling for each cause with unruled deliveries, and one for each that has waited and is due."""
    found: dict[Cause, list[Episode]] = {cause: [] for cause in Cause}
    for episode in episodes(state.deliveries, state.now, settings.expires_s):
        found[episode.alert.cause].append(episode)
    faults = firing(found[Cause.DATA_FAULT])
    rulings = []
    for cause in Cause:
        finding = _find(cause, found[cause], faults, state, settings)
        unruled = _unruled(state, cause)
        if unruled or finding.action not in (Action.WAIT, Action.IGNORE):
            waited = {trigger for episode in finding.acted_on for trigger in episode.triggers}
            rulings.append(_ruling(cause, finding, unruled or waited, bool(faults), state))
    return rulings


def _unruled(state: AlertState, cause: Cause) -> set[str]:
    return {
        delivery.id
        for delivery in state.deliveries
        if delivery.id in state.unruled and any(alert.cause is cause for alert in delivery.alerts)
    }


def _ruling(
    cause: Cause, finding: _Finding, triggers: set[str], fault_fires: bool, state: AlertState
) -> Ruling:
    of_ruling = (delivery for delivery in state.deliveries if delivery.id in triggers)
    first = min(of_ruling, key=lambda delivery: (delivery.received_at, delivery.id))
    return Ruling(
        at=state.now,
        cause=cause,
        action=finding.action,
        reason=finding.reason + reasons.HELD * (cause is Cause.DATA_FAULT and fault_fires),
        triggers=tuple(sorted(triggers)),
        alerts=each_once(episode.alert for episode in finding.acted_on),
        traceparent=first.traceparent,
    )


def _find(
    cause: Cause, found: Sequence[Episode], faults: Sequence[Episode], state: AlertState, settings: Alerts
) -> _Finding:
    """The first rule that applies to a cause."""
    fires, limits = firing(found), _limits(settings, cause)
    if not fires:
        return _Finding(Action.IGNORE, reasons.OVER)
    heard = [episode for episode in fires if not silenced(episode.alert, state.silences)]
    if not heard:
        return _Finding(Action.IGNORE, reasons.only_silenced(fires, state.silences))
    acted_on = _without_info(heard)
    if not acted_on:
        return _Finding(Action.IGNORE, reasons.only_info(heard))
    action = _leads_to(cause, acted_on, state, settings)
    if action is Action.RETRAIN and faults:
        return _Finding(Action.WAIT, reasons.held_by(acted_on, _without_info(faults) or faults), acted_on)
    windows = _windows(found, state, limits)
    if windows < limits.k:
        return _Finding(Action.WAIT, reasons.too_rare(acted_on, windows, limits), acted_on)
    if earlier := _done_lately(cause, action, acted_on, state, limits):
        return _Finding(Action.WAIT, reasons.cooling_down(acted_on, earlier, limits), acted_on)
    return _Finding(action, reasons.acts(acted_on, action, state.promoted_at), acted_on)


def _leads_to(cause: Cause, acted_on: Sequence[Episode], state: AlertState, settings: Alerts) -> Action:
    if cause is Cause.SERVING and state.promoted_at:
        until = state.promoted_at + timedelta(seconds=settings.after_promotion_s)
        if any(state.promoted_at <= episode.start <= until for episode in acted_on):
            return Action.ROLLBACK
    return LEADS_TO[cause]


def _windows(found: Sequence[Episode], state: AlertState, limits: AlertRule) -> int:
    """In how many of the last n windows an alert fired that is neither silenced nor of severity `info`."""
    counted = [e for e in _without_info(found) if not silenced(e.alert, state.silences)]
    fired = 0
    for number in range(limits.n):
        last = state.now - timedelta(seconds=number * limits.window_s)
        first = last - timedelta(seconds=limits.window_s)
        fired += any(e.start <= last and (e.end is None or e.end > first) for e in counted)
    return fired


def _done_lately(
    cause: Cause, action: Action, acted_on: Sequence[Episode], state: AlertState, limits: AlertRule
) -> Ruling | None:
    """The newest ruling that did the same within the cool-down. A person hears of each alert's name."""
    since = state.now - timedelta(seconds=limits.cool_down_s)
    same = [r for r in state.rulings if (r.cause, r.action) == (cause, action) and r.at > since]
    told = {name for ruling in same for name in ruling.names}
    if action not in DAGS and not told.issuperset(reasons.names_of(acted_on)):
        return None
    return max(same, key=lambda ruling: ruling.at, default=None)


def _limits(settings: Alerts, cause: Cause) -> AlertRule:
    limits: AlertRule = getattr(settings, cause)
    return limits


def _without_info(found: Iterable[Episode]) -> list[Episode]:
    return [episode for episode in found if episode.alert.severity != INFO]
