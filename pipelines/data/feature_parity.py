"""The comparison of sampled entities, online and offline, with people under pseudonyms."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from pipelines.core.config import Config
from pipelines.core.pseudonyms import pseudonym, pseudonym_key
from pipelines.data.features import VIEWS, Entity, FeatureStore, entities_of
from pipelines.policy.night.parity import Skew, check


def sampled(count: int, most: int, seed: list[int]) -> np.ndarray:
    """Which of `count` rows are compared: at most `most` places, sorted."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(count, min(most, count), replace=False))


def skews_of(config: Config, store: FeatureStore, view: str, offline: pa.Table, at: datetime) -> list[Skew]:
    """Compare the online values of a view's entities, and their age at an instant, with the offline rows."""
    entities = entities_of(view, offline)
    values, stamps = store.online(view, entities)
    shown, rows = _shown(config, entities), offline.drop_columns([*VIEWS[view]]).to_pylist()
    return check(
        offline={shown[entity]: row for entity, row in zip(entities, rows, strict=True)},
        online={shown[entity]: row for entity, row in values.items()},
        stamps={shown[entity]: stamp for entity, stamp in stamps.items()},
        at=at,
        max_age=timedelta(hours=config.features.max_age_hours),
        tolerance=config.features.parity_tolerance,
    )


def _shown(config: Config, entities: list[Entity]) -> dict[Entity, str]:
    """What facts and reasons call an entity: a tenant by its name, a person by a keyed hash."""
    key = pseudonym_key(config.keys_folder)
    return {entity: entity[0] if len(entity) == 1 else pseudonym(key, *entity) for entity in entities}
