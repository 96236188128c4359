"""Which deliveries are repeats: the same body within a while, unless the opposite was said meanwhile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.core.contract import digest_of


@dataclass
class _Delivered:
    replay_id: str
    at: datetime
    states: dict[str, str]  # whether each alert fires or is resolved
    is_over: bool = False  # a later delivery said the opposite of one of its alerts


class Repeats:
    """Gives each delivery that comes with the token an id of its own, and a repeated one the id it had.

    A sender whose alert fires, ends and fires again may send the same bytes twice and mean two things. Where
    this process remembers nothing, the same body has one id in each period of `within_s`.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._delivered: dict[bytes, _Delivered] = {}  # by source and body

    def replay_id(self, source: str, body: bytes, alerts: Sequence[Mapping[str, Any]], now: datetime) -> str:
        """The id by which the ledger knows a repeated delivery."""
        self._delivered = {
            key: one for key, one in self._delivered.items() if self._age_s(one, now) < self._within_s
        }
        key = hashlib.sha256(source.encode() + b"\0" + body).digest()
        known = self._delivered.get(key)
        if known and not known.is_over:
            return known.replay_id
        states = {_series(alert): alert["status"] for alert in alerts}
        for one in self._delivered.values():
            one.is_over |= any(one.states.get(name, state) != state for name, state in states.items())
        period = str(int(now.timestamp() // self._within_s))
        replay_id = f"{period} {now.timestamp()}" if known else period
        self._delivered[key] = _Delivered(replay_id, now, states)
        return replay_id

    def _age_s(self, one: _Delivered, now: datetime) -> float:
        return (now - one.at).total_seconds()


def _series(alert: Mapping[str, Any]) -> str:
    given = alert["fingerprint"] or digest_of([alert["name"], alert["labels"]])
    return f"{alert['cause']} {given} {alert['name']}"
