"""The hourly look at the feature store: compare it online and offline, fill it, see how old it is.

A night does the same for itself. This mends an online store that lost or changed what a night wrote, says so,
and finds nights that no longer come.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from pipelines.core.config import Config
from pipelines.core.contract import Verdict
from pipelines.core.results import StepResult
from pipelines.data import features_uri, has_feature_store, open_feature_store
from pipelines.observability import metrics_push
from pipelines.observability.metrics_push import Sample
from pipelines.policy.night.parity import Skew, is_old, sentence

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.data.features import FeatureStore

NAME, JOB = "features-sync", "nightshift_features"
HELP = {
    "nightshift_features_last_sync_timestamp_seconds": "when the online store was last filled and compared",
    "nightshift_features_newest_timestamp_seconds": "the instant that the newest online features describe",
    "nightshift_features_max_age_seconds": "features.max_age_hours",
    "nightshift_features_compared": "entities whose online and offline values were compared",
    "nightshift_features_differences": "values that were wrong, missing or out of date online",
}
SHOWN = 5  # differences that are told
log = logging.getLogger("nightshift")


@dataclass(frozen=True)
class Synced:
    """What a sync found. `newest`: the instant up to which the online store is filled.

    `found`: what services read until now and was wrong. `left`: what is wrong even after filling.
    """

    night: date
    newest: datetime | None
    compared: int
    found: list[Skew]
    left: list[Skew]

    def reasons(self) -> list[str]:
        """What a person should know."""
        if self.left:
            return [sentence(skew) for skew in self.left[:SHOWN]]
        if self.found:
            return [
                f"{len(self.found)} values were wrong online and are right again, such as: "
                f"{sentence(self.found[0])}"
            ]
        return []


def feature_sync(config: Config, now: datetime | None = None) -> StepResult:
    """Sync once. Raises UnavailableError where a store or the Pushgateway does not answer."""
    started, now = time.monotonic(), now or datetime.now(UTC)
    if not has_feature_store(config):
        return _result(started, config, Verdict.SKIP, "no features yet", ["No night has stored features."])
    found = _sync(config, now)
    if found is None:
        reason = "No night has stored its features whole."
        return _result(started, config, Verdict.SKIP, "no features yet", [reason])
    reasons = found.reasons()
    if is_old(found.newest, now, timedelta(hours=config.features.max_age_hours)):
        reasons.append(
            f"The newest features are of {found.newest and found.newest.isoformat()}, "
            f"and features.max_age_hours is {config.features.max_age_hours}."
        )
    _push(config, found, now)
    headline = f"night {found.night}, parity on {found.compared}: {len(found.found)} differences"
    return _result(started, config, Verdict.HOLD if reasons else Verdict.PROCEED, headline, reasons)


def _sync(config: Config, now: datetime) -> Synced | None:
    """Compare a sample of the newest night, fill the online store, and see that all is right."""
    store = open_feature_store(config)
    with store.writing(config):
        night = store.newest_night()
        at = store.stamp(night) if night else None
        if night is None or at is None:
            return None
        store.apply()
        rows, filled, found = _sample(config, store, night, at, now), store.newest(), list[Skew]()
        if filled == at:  # else the night is not online yet, which is no fault
            found = _skews(config, store, rows, at)
        if filled is None or filled <= at:  # else the files of a newer night are gone: do not turn back
            store.materialise(at)
        left = _skews(config, store, rows, at) if found or filled != at else []
        compared = sum(table.num_rows for table in rows.values())
        return Synced(night, store.newest(), compared, found or left, left)


def _sample(
    config: Config, store: FeatureStore, night: date, at: datetime, now: datetime
) -> dict[str, pa.Table]:
    """The offline rows of some of a night's entities, others each hour."""
    from pipelines.data.feature_parity import sampled
    from pipelines.data.features import VIEWS

    seed, rows = [config.seed, int(now.timestamp()) // 3600], {}
    for view in VIEWS:
        entities = store.entities(view, night)
        places = sampled(len(entities), config.features.parity_entities, seed)
        if chosen := [entities[place] for place in places]:
            rows[view] = store.offline(view, chosen, at)
    return rows


def _skews(config: Config, store: FeatureStore, rows: dict[str, pa.Table], at: datetime) -> list[Skew]:
    from pipelines.data.feature_parity import skews_of

    return [skew for view, table in rows.items() for skew in skews_of(config, store, view, table, at)]


def _result(
    started: float, config: Config, verdict: Verdict, headline: str, reasons: list[str]
) -> StepResult:
    return StepResult(
        step=NAME,
        verdict=verdict,
        reasons=tuple(reasons),
        headline=headline,
        manifest_uri=features_uri(config),
        seconds=time.monotonic() - started,
        reused=False,
    )


def _push(config: Config, found: Synced, now: datetime) -> None:
    if not config.watch.pushgateway:
        log.info("%s: no metrics are pushed, because watch.pushgateway is not set", NAME)
        return
    values = {
        "nightshift_features_last_sync_timestamp_seconds": now.timestamp(),
        "nightshift_features_max_age_seconds": 3600.0 * config.features.max_age_hours,
        "nightshift_features_compared": float(found.compared),
        "nightshift_features_differences": float(len(found.found)),
    }
    if found.newest:
        values["nightshift_features_newest_timestamp_seconds"] = found.newest.timestamp()
    samples = [Sample(name, value) for name, value in values.items()]
    metrics_push.push(config.watch.pushgateway, samples, HELP, JOB)
