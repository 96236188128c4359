"""The sentences of a ruling: why it was made. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pipelines.core.alerts import Action, Ruling, Silence, one_line, unknown_cause
from pipelines.core.config import AlertRule
from pipelines.policy.alerts.firing import Episode

ADVICE = {
    Action.RETRAIN: "train on the interactions since then",
    Action.ROLLBACK: "put back what answered before",
    Action.PAGE: "a person should look",
    Action.SCALE: "add a replica, or lower the limits to shed load; training would not help",
}
OVER = "No alert of this cause fires any more."
HELD = " Training is held until this is resolved."
SHOWN_CAUSES = 3


def names_of(found: Iterable[Episode]) -> tuple[str, ...]:
    return tuple(sorted({episode.alert.name for episode in found}))


def only_silenced(fires: Sequence[Episode], silences: Sequence[Silence]) -> str:
    by = max((s for s in silences if s.covers(fires[0].alert)), key=lambda silence: silence.until)
    return f"{_firing(fires)}; silenced by {by.actor} until {_clock(by.until)} ({by.reason})."


def only_info(fires: Sequence[Episode]) -> str:
    return f"{_firing(fires)}; alerts of severity info are not acted on."


def held_by(acted_on: Sequence[Episode], faults: Sequence[Episode]) -> str:
    return f"{_firing(acted_on)}; training is held while a data fault fires: {_firing(faults)}."


def too_rare(acted_on: Sequence[Episode], windows: int, limits: AlertRule) -> str:
    fired = f"it fired in {windows} of the last {limits.n} windows of {limits.window_s} s"
    return f"{_firing(acted_on)}; {fired}, and {limits.k} are needed."


def cooling_down(acted_on: Sequence[Episode], earlier: Ruling, limits: AlertRule) -> str:
    until = _clock(earlier.at + timedelta(seconds=limits.cool_down_s))
    ruled = f"{earlier.action} was ruled at {_clock(earlier.at)}"
    return f"{_firing(acted_on)}; {ruled}, and is not repeated before {until}."


def acts(acted_on: Sequence[Episode], action: Action, promoted_at: datetime | None) -> str:
    why = ""
    if action is Action.ROLLBACK and promoted_at:
        why = f"it began after the promotion of {_clock(promoted_at)}, so "
    return f"{_firing(acted_on)}: {why}{ADVICE[action]}."


def _firing(found: Sequence[Episode]) -> str:
    """For example "InputDrift and 2 others have fired since 2026-03-02 10:02:00 UTC"."""
    first, *others = names_of(found)
    more = f" and {len(others)} other{'s' * (len(others) > 1)}" if others else ""
    since = _clock(min(episode.start for episode in found))
    unknown = {e.alert.unknown_cause for e in found if e.alert.unknown_cause is not None}
    notes = [unknown_cause(given) for given in sorted(unknown)[:SHOWN_CAUSES]]
    notes += sorted({one_line(e.alert.problem) for e in found if e.alert.problem})[:SHOWN_CAUSES]
    return f"{first}{more} {'have' if others else 'has'} fired since {since}" + "".join(
        f" ({note})" for note in notes
    )


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
