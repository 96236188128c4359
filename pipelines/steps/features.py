"""Features: what tenants and people did lately, in an offline and an online store that must agree.

Rows are computed from the lake as of the night, read back by point-in-time join, materialised online, and a
sample of entities is compared at the same instant. A difference holds the night.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.contract import Verdict
from pipelines.core.facts.features import Difference, FeaturesFacts, Parity
from pipelines.data import open_feature_store, open_lake
from pipelines.data.activity import activity, end_of
from pipelines.data.feature_parity import sampled, skews_of
from pipelines.data.features import VIEWS, FeatureStore
from pipelines.data.lake import write_parquet
from pipelines.policy.night.parity import sentence
from pipelines.runner import Context, Outcome

SETTINGS = ("features", "ingest")
log = logging.getLogger("nightshift")


def external_inputs(ctx: Context) -> dict[str, str]:
    """The days of the lake that the longest window covers."""
    first = ctx.night - timedelta(days=max(ctx.config.features.windows_days) - 1)
    return {"lake": open_lake(ctx.config).digest(first, ctx.night, ctx.night)}


def run(ctx: Context) -> Outcome:
    settings, at = ctx.config.features, end_of(ctx.night, ctx.config.ingest.zone)
    store = open_feature_store(ctx.config)
    with store.writing(ctx.config):
        newest = store.newest()
        if newest and newest > at:  # a replay must not turn the live store back: it fills one of its own
            store = open_feature_store(ctx.config, ctx.scratch() / "feast")
        found = fill(ctx, store, at)
        samples = {view: _sampled(ctx, rows) for view, rows in found.items()}
        skews = [
            skew for view, rows in samples.items() for skew in skews_of(ctx.config, store, view, rows, at)
        ]
    compared = sum(rows.num_rows for rows in samples.values())
    counts = {view: rows.num_rows for view, rows in found.items()}
    log.info("%d entities compared online and offline: %d differences", compared, len(skews))
    return Outcome(
        headline=f"{sum(counts.values())} entities, parity on {compared}: {len(skews)} differences",
        verdict=Verdict.HOLD if skews else Verdict.PROCEED,
        reasons=tuple(sentence(skew) for skew in skews[:5]),
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


def fill(ctx: Context, store: FeatureStore, at: datetime) -> dict[str, pa.Table]:
    """Compute and store the night's rows. Returns what the offline store then holds, one table a view."""
    lake, settings = open_lake(ctx.config), ctx.config.features
    for view in VIEWS:
        rows = activity(lake, view, settings.windows_days, ctx.night, ctx.config.ingest.zone)
        store.put(view, ctx.night, rows)
    store.apply()
    store.materialise(at)
    found = {}
    for view in VIEWS:
        entities = store.entities(view, ctx.night)
        found[view] = store.offline(view, entities, at)
        write_parquet(ctx.out / f"{view}.parquet", found[view].to_batches(), found[view].schema)
        log.info("%s: %d entities", view, len(entities))
    return found


def _sampled(ctx: Context, rows: pa.Table) -> pa.Table:
    seed = [ctx.config.seed, ctx.night.toordinal()]
    return rows.take(sampled(rows.num_rows, ctx.config.features.parity_entities, seed))


def _totals(rows: pa.Table) -> dict[str, int]:
    return {name: pc.sum(rows[name]).as_py() for name in rows.column_names if name.startswith("requests")}
