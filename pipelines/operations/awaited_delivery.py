"""Whether a night of the gateway is still to be delivered. Whoever dispatches alerts has no ML library."""

from __future__ import annotations

from datetime import date

from pipelines.core.config import Config
from pipelines.stores import open_journal, open_shared
from pipelines.stores.journal import deliveries


def awaits_delivery(config: Config, night: date) -> bool:
    """Whether the night, a day in the data's zone, has answers and no delivery yet."""
    is_there = open_shared(config).exists(deliveries.delivery_path(night))
    return not is_there and open_journal(config).has_answers(night, config.ingest.zone)
