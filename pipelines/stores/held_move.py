"""What holds the traffic split where it is: a gateway that is not ready for a move, or has a problem."""

from __future__ import annotations

from pipelines.core.barrier import SeenGateway, left_behind, problem_words, waiting_words
from pipelines.core.config import Config
from pipelines.stores import open_gateways
from pipelines.stores.gateways.fleet import Fleet


def held_move(config: Config, newest: int) -> str:
    """Which gateways the newest promotion waits for, and why; "" if it waits for none."""
    fleet = _fleet(config)
    if fleet is None or fleet.in_effect >= newest:
        return ""
    return waiting_words(newest, fleet.gateways, config.gateway.contact_s)


def gateway_problems(config: Config) -> str:
    """Which gateways tell of a problem, such as an adapter that its engine does not serve; "" if none."""
    fleet = _fleet(config)
    return problem_words(fleet.gateways, config.gateway.contact_s) if fleet else ""


def gone_gateways(config: Config) -> list[SeenGateway]:
    """Gateways that do not live and left entries in their spool, as far as is known."""
    fleet = _fleet(config)
    return left_behind(fleet.gateways, config.gateway.contact_s) if fleet else []


def _fleet(config: Config) -> Fleet | None:
    gateways = open_gateways(config)
    if gateways is None:
        return None
    try:
        return gateways.read()
    finally:
        gateways.close()
