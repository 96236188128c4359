"""What an alert leads to. Pure.

All alerts of a cause are ruled on together, so a cause starts at most one run at a time, however many alerts
come and in whatever order. The rules are asked in this order; the first that applies answers.

| rule      | applies when                                                          | action    |
|-----------|-----------------------------------------------------------------------|-----------|
| over      | nothing of the cause fires any more                                   | ignore    |
| silenced  | all of it that fires is silenced                                      | ignore    |
| minor     | all of it that fires is of severity `info`; beside others such an     | ignore    |
|           | alert counts for nothing                                              |           |
| held      | the cause leads to training, and a data fault fires (silenced or not) | wait      |
| rare      | it fired in fewer than `k` of the last `n` windows of `window_s`      | wait      |
| cooling   | the same was done less than `cool_down_s` ago (a page: of that name)  | wait      |
| otherwise | what `Cause` says; for a serving regression that began within         | retrain,  |
|           | `after_promotion_s` of a promotion a rollback, else a page            | page, ... |

Whatever waits is looked at again while it fires. An alert that nobody repeats for `expires_s` counts as over.
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
    unknown_cause,
)
from pipelines.core.config import AlertRule, Alerts
from pipelines.policy.alerts.firing import Episode, episodes, firing

LEADS_TO = dict.fromkeys(Cause, Action.PAGE) | {
    Cause.DRIFT: Action.RETRAIN,
    Cause.QUALITY: Action.RETRAIN,
    Cause.OVERLOAD: Action.SCALE,
}
ADVICE = {
    Action.RETRAIN: "train on what users did since",
    Action.ROLLBACK: "put back what answered before",
    Action.PAGE: "a person should look",
    Action.SCALE: "add a replica, or shed load by lower limits; training would not help",
}
HELD = " Training is held until this is resolved."
SHOWN_CAUSES = 3


@dataclass(frozen=True)
class Situation:
    """What is known. `deliveries` reach back to `horizon`, and hold every unruled one."""

    now: datetime
    deliveries: Sequence[Delivery]
    unruled: frozenset[str]
    rulings: Sequence[Ruling]
    silences: Sequence[Silence]  # those that have not expired
    promoted_at: datetime | None  # when production changed, if a rollback would undo just that


def horizon(now: datetime, settings: Alerts) -> datetime:
    """The oldest time that a decision looks back to."""
    rules = [_limits(settings, cause) for cause in Cause]
    spans = [max(rule.cool_down_s, rule.n * rule.window_s) for rule in rules]
    return now - timedelta(seconds=max(settings.expires_s, settings.start_within_s, *spans))


def route(known: Situation, settings: Alerts) -> list[Ruling]:
    """One ruling for each cause with unruled deliveries, and one where something that waited is due."""
    found: dict[Cause, list[Episode]] = {cause: [] for cause in Cause}
    for episode in episodes(known.deliveries, known.now, settings.expires_s):
        found[episode.alert.cause].append(episode)
    faults = firing(found[Cause.DATA_FAULT])
    rulings = []
    for cause in Cause:
        action, reason, acted_on = _rule(cause, found[cause], faults, known, settings)
        due = {trigger for episode in acted_on for trigger in episode.triggers}
        new = {
            delivery.id
            for delivery in known.deliveries
            if delivery.id in known.unruled and any(alert.cause is cause for alert in delivery.alerts)
        }
        if new or action not in (Action.WAIT, Action.IGNORE):
            triggers = new or due
            first = min(
                (d for d in known.deliveries if d.id in triggers), key=lambda d: (d.received_at, d.id)
            )
            rulings.append(
                Ruling(
                    at=known.now,
                    cause=cause,
                    action=action,
                    reason=reason + HELD * (cause is Cause.DATA_FAULT and bool(faults)),
                    triggers=tuple(sorted(triggers)),
                    alerts=each_once(episode.alert for episode in acted_on),
                    traceparent=first.traceparent,
                )
            )
    return rulings


def _rule(
    cause: Cause, found: Sequence[Episode], faults: Sequence[Episode], known: Situation, settings: Alerts
) -> tuple[Action, str, list[Episode]]:
    """The action, why, and the episodes that it acts on."""
    fires, limits = firing(found), _limits(settings, cause)
    if not fires:
        return Action.IGNORE, "Nothing of this cause fires any more.", []
    heard = [e for e in fires if not silenced(e.alert, known.silences)]
    if not heard:
        return Action.IGNORE, f"{_said(fires)}; silenced {_silenced(fires[0], known.silences)}.", []
    loud = _loud(heard)
    if not loud:
        return Action.IGNORE, f"{_said(heard)}: only worth knowing.", []
    said = _said(loud)
    action = _leads_to(cause, loud, known, settings)
    if action is Action.RETRAIN and faults:
        return (
            Action.WAIT,
            f"{said}; training is held while a data fault fires: {_said(_loud(faults) or faults)}.",
            loud,
        )
    windows = _windows(found, known, limits)
    if windows < limits.k:
        seen = f"it fired in {windows} of the last {limits.n} windows of {limits.window_s} s"
        return Action.WAIT, f"{said}; {seen}, {limits.k} are needed.", loud
    done = _done(cause, action, loud, known, limits)
    if done:
        until = _clock(done.at + timedelta(seconds=limits.cool_down_s))
        return (
            Action.WAIT,
            f"{said}; {action} was ruled at {_clock(done.at)}, not again before {until}.",
            loud,
        )
    return action, f"{said}: {_why(action, known)}{ADVICE[action]}.", loud


def _leads_to(cause: Cause, loud: Sequence[Episode], known: Situation, settings: Alerts) -> Action:
    if cause is Cause.SERVING and known.promoted_at:
        until = known.promoted_at + timedelta(seconds=settings.after_promotion_s)
        if any(known.promoted_at <= episode.start <= until for episode in loud):
            return Action.ROLLBACK
    return LEADS_TO[cause]


def _windows(found: Sequence[Episode], known: Situation, limits: AlertRule) -> int:
    """In how many of the last n windows something of the cause fired, silenced and `info` alerts aside."""
    counted = [e for e in _loud(found) if not silenced(e.alert, known.silences)]
    fired = 0
    for number in range(limits.n):
        last = known.now - timedelta(seconds=number * limits.window_s)
        first = last - timedelta(seconds=limits.window_s)
        fired += any(e.start <= last and (e.end is None or e.end > first) for e in counted)
    return fired


def _done(
    cause: Cause, action: Action, loud: Sequence[Episode], known: Situation, limits: AlertRule
) -> Ruling | None:
    """The newest ruling that did the same within the cool-down. People are told of each name."""
    since = known.now - timedelta(seconds=limits.cool_down_s)
    same = [r for r in known.rulings if (r.cause, r.action) == (cause, action) and r.at > since]
    told = {name for ruling in same for name in ruling.names}
    if action not in DAGS and not told.issuperset(_names(loud)):
        return None
    return max(same, key=lambda ruling: ruling.at, default=None)


def _limits(settings: Alerts, cause: Cause) -> AlertRule:
    limits: AlertRule = getattr(settings, cause)
    return limits


def _loud(found: Iterable[Episode]) -> list[Episode]:
    return [episode for episode in found if episode.alert.severity != INFO]


def _names(found: Iterable[Episode]) -> tuple[str, ...]:
    return tuple(sorted({episode.alert.name for episode in found}))


def _said(found: Sequence[Episode]) -> str:
    """ "InputDrift and 2 others fire since 10:02 UTC"."""
    names = _names(found)
    others = len(names) - 1
    more = f" and {others} other{'s' * (others > 1)}" if others else ""
    since = f"{names[0]}{more} fire{'s' * (not others)} since {_clock(min(e.start for e in found))}"
    unknown = sorted({e.alert.unknown_cause for e in found if e.alert.unknown_cause is not None})
    return since + "".join(f" ({unknown_cause(given)})" for given in unknown[:SHOWN_CAUSES])


def _silenced(episode: Episode, silences: Sequence[Silence]) -> str:
    by = max((s for s in silences if s.covers(episode.alert)), key=lambda silence: silence.until)
    return f"by {by.actor} until {_clock(by.until)} ({by.reason})"


def _why(action: Action, known: Situation) -> str:
    if action is Action.ROLLBACK and known.promoted_at:
        return f"it began after the promotion of {_clock(known.promoted_at)}, so "
    return ""


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
