"""A move of the traffic split that waits for a gateway."""

from __future__ import annotations

from pipelines.core.barrier import waiting_words
from pipelines.core.config import Config
from pipelines.stores import open_gateways


def held_move(config: Config, newest: int) -> str:
    """Which gateways the newest promotion waits for, and why; "" if it waits for none."""
    gateways = open_gateways(config)
    if gateways is None:
        return ""
    try:
        fleet = gateways.read()
    finally:
        gateways.close()
    if fleet.in_effect >= newest:
        return ""
    return waiting_words(newest, fleet.gateways, config.gateway.contact_s)
