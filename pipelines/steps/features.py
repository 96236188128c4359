"""Features: what tenants and people did lately, in an offline and an online store that must agree.

Rows are computed from the lake as of the night, read back by point-in-time join, materialised online, and a
sample of entities is compared at the same instant. A difference holds the night.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.contract import Verdict
from pipelines.core.facts.features import Difference, FeaturesFacts, Parity
from pipelines.core.pseudonyms import pseudonym, pseudonym_key
from pipelines.data import open_feature_store, open_lake
from pipelines.data.features import VIEWS, Entity, FeatureStore, activity, end_of, entities_of
from pipelines.data.lake import write_parquet
from pipelines.policy.night.parity import Skew, compare, stale
from pipelines.runner import Context, Outcome

SETTINGS = ("features", "ingest")
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    """The days of the lake that the longest window covers."""
    first = ctx.night - timedelta(days=max(ctx.config.features.windows_days) - 1)
    return {"lake": open_lake(ctx.config).digest(first, ctx.night, ctx.night)}


def run(ctx: Context) -> Outcome:
    settings, at = ctx.config.features, end_of(ctx.night)
    store = open_feature_store(ctx.config)
    with store.writing(ctx.home):
        newest = store.newest()
        if newest and newest > at:  # a replay must not turn the live store back: it fills one of its own
            store = open_feature_store(ctx.config, ctx.scratch() / "feast")
        found = fill(ctx, store)
        skews = [skew for view, rows in found.items() for skew in check_parity(ctx, store, view, rows)]
    compared = sum(len(_sampled(ctx, rows)) for rows in found.values())
    counts = {view: rows.num_rows for view, rows in found.items()}
    log.info("%d entities compared online and offline: %d differences", compared, len(skews))
    return Outcome(
        headline=f"{sum(counts.values())} entities, parity on {compared}: {len(skews)} differences",
        verdict=Verdict.HOLD if skews else Verdict.PROCEED,
        reasons=tuple(_sentence(skew) for skew in skews[:5]),
        outputs={view: f"{view}.parquet" for view in found},
        metrics={"compared": (compared, "entities"), "differences": (len(skews), "values")},
        facts=FeaturesFacts(
            as_of=at.isoformat(),
            entities=counts,
            totals={view: _totals(rows) for view, rows in found.items()},
            parity=Parity(
                compared=compared,
                differences=tuple(Difference(**asdict(skew)) for skew in skews[:50]),
                tolerance=settings.parity_tolerance,
                max_age_hours=settings.max_age_hours,
            ),
        ),
    )


def fill(ctx: Context, store: FeatureStore) -> dict[str, pa.Table]:
    """Compute and store the night's rows. Returns what the offline store then holds, one table a view."""
    for view in VIEWS:
        store.put(
            view,
            ctx.night,
            activity(open_lake(ctx.config), view, ctx.config.features.windows_days, ctx.night),
        )
    store.apply()
    at = end_of(ctx.night)
    store.materialise(at)
    found = {}
    for view in VIEWS:
        entities = store.entities(view, ctx.night)
        found[view] = store.offline(view, entities, at)
        write_parquet(ctx.out / f"{view}.parquet", found[view].to_batches(), found[view].schema)
        log.info("%s: %d entities", view, len(entities))
    return found


def check_parity(ctx: Context, store: FeatureStore, view: str, rows: pa.Table) -> list[Skew]:
    """Compare the online values of sampled entities, and their age, with the offline rows."""
    sampled = _sampled(ctx, rows)
    entities = entities_of(view, sampled)
    values, stamps = store.online(view, entities)
    shown, every = _shown(ctx, entities), sampled.drop_columns([*VIEWS[view]]).to_pylist()
    offline = {shown[entity]: row for entity, row in zip(entities, every, strict=True)}
    online = {shown[entity]: row for entity, row in values.items()}
    aged = stale({shown[entity]: at for entity, at in stamps.items()}, end_of(ctx.night), _max_age(ctx))
    return [*aged, *compare(offline, online, ctx.config.features.parity_tolerance)]


def _shown(ctx: Context, entities: list[Entity]) -> dict[Entity, str]:
    """What facts and reasons call an entity: a tenant by its name, a person by a keyed hash."""
    key = pseudonym_key(ctx.config.keys_folder)
    return {entity: entity[0] if len(entity) == 1 else pseudonym(key, *entity) for entity in entities}


def _sampled(ctx: Context, rows: pa.Table) -> pa.Table:
    rng = np.random.default_rng([ctx.config.seed, ctx.night.toordinal()])
    size = min(ctx.config.features.parity_entities, rows.num_rows)
    return rows.take(np.sort(rng.choice(rows.num_rows, size, replace=False)))


def _totals(rows: pa.Table) -> dict[str, int]:
    return {name: pc.sum(rows[name]).as_py() for name in rows.column_names if name.startswith("requests")}


def _sentence(skew: Skew) -> str:
    return f"{skew.entity}: {skew.feature} is {skew.online} online and {skew.offline} offline."


def _max_age(ctx: Context) -> timedelta:
    return timedelta(hours=ctx.config.features.max_age_hours)
