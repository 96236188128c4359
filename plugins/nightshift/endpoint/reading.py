"""From a body to alerts: each is read alone, and whatever is cut or set aside is said."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, ValidationError

from nightshift.endpoint.payloads import FORMATS, MOST_LABELS, MOST_NAME, MOST_TEXT
from pipelines.core.alerts import IDENTITY, one_line
from pipelines.core.contract import digest_of

HALF_A_PAIR = re.compile("[\ud800-\udfff]")
MOST_SAID = 20  # warnings and reasons in an answer
MOST_DIGITS = 1_000
MOST_PLACE = 100  # characters of a place in the body


class DoubledKeys(dict[str, Any]):
    """An object of which a key occurs twice, so that nobody can tell which value was meant."""


@dataclass
class Batch:
    """What a delivery holds. `set_aside`: position and reason of each alert that could not be read."""

    sender: str
    alerts: list[dict[str, Any]] = field(default_factory=list)
    truncated: int = 0  # alerts that the sender cut off
    set_aside: list[tuple[int, str]] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def problems(self) -> list[str]:
        """A sentence for each way in which the delivery is not what happened."""
        said = [f"the sender cut off {self.truncated} alerts (max_alerts)"] if self.truncated else []
        if self.set_aside:
            position, reason = self.set_aside[0]
            said.append(
                f"{len(self.set_aside)} alerts were set aside, the first is alerts.{position}: {reason}"
            )
        return said


def read_batch(source: str, body: bytes) -> Batch:
    """Raises HTTPException 400 for what is not JSON, and 422 where no alert can be read, with the place."""
    frame_type, alert_type = FORMATS[source]
    try:
        frame = frame_type.model_validate(_json(body))
    except ValidationError as error:
        raise HTTPException(422, _first(error)) from None
    batch = Batch(_text(frame.sender, MOST_NAME), truncated=frame.truncated, doubts=frame.doubts)
    for position, item in enumerate(frame.alerts):
        try:
            _refuse_doubled(item)
            read = alert_type.model_validate(item)
        except (ValidationError, ValueError) as error:
            reason = _first(error) if isinstance(error, ValidationError) else str(error)
            batch.set_aside.append((position, reason))
        else:
            batch.alerts.append(_bounded(read.fields(), batch.cut))
    if not batch.alerts:
        position, reason = batch.set_aside[0]
        raise HTTPException(422, f"alerts.{position}.{reason}")
    return batch


def shortly(said: Iterable[str]) -> list[str]:
    """The first sentences, and how many others there are."""
    every = list(dict.fromkeys(said))
    more = [f"and {len(every) - MOST_SAID} more"] if len(every) > MOST_SAID else []
    return every[:MOST_SAID] + more


def _json(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(
            text, object_pairs_hook=_pairs, parse_constant=lambda name: None, parse_int=_number
        )
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise HTTPException(400, f"The body is not JSON: {what[:200]}") from None
    if isinstance(value, DoubledKeys):
        raise HTTPException(400, "A key of the body occurs twice.")
    return _whole(value) if r"\ud" in text.lower() else value


def _number(digits: str) -> int | str:
    """Python refuses the whole body for an endless number in one alert."""
    return int(digits) if len(digits) <= MOST_DIGITS else digits


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else DoubledKeys(found)


def _refuse_doubled(value: Any) -> None:
    """Raises ValueError for an alert in which a key occurs twice."""
    parts = [value, *value.values()] if isinstance(value, dict) else []
    if any(isinstance(part, DoubledKeys) for part in parts):
        raise ValueError("a key occurs twice")


def _whole(value: Any) -> Any:
    """The same value; half of a surrogate pair, which no file can hold, becomes U+FFFD."""
    if isinstance(value, str):
        return HALF_A_PAIR.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(part) for part in value]
    if isinstance(value, dict):
        return type(value)((_whole(key), _whole(part)) for key, part in value.items())
    return value


def _bounded(alert: dict[str, Any], cut: list[str]) -> dict[str, Any]:
    """The alert with as much text as is kept; `cut` is told what is missing."""
    alert = {**alert, "name": one_line(alert["name"]) or "unnamed"}  # it is part of notices
    bounded: dict[str, Any] = {name: _texts(alert, name, cut) for name in ("labels", "annotations")}
    for name in ("name", "cause", "severity", "fingerprint"):
        bounded[name] = _text(alert[name], MOST_NAME)
    if not alert["fingerprint"] and bounded["labels"] != alert["labels"]:  # cut ones may look the same
        bounded["fingerprint"] = digest_of([alert["name"], alert["cause"], alert["labels"]])[:16]
    elif alert["fingerprint"] != bounded["fingerprint"]:
        bounded["fingerprint"] = digest_of(alert["fingerprint"])[:16]
    return {**alert, **bounded}


def _texts(alert: dict[str, Any], name: str, cut: list[str]) -> dict[str, str]:
    given, where = alert[name], f"{alert['name'][:60]}: {name}"
    ordered = sorted(given, key=lambda key: key not in IDENTITY)  # these first, then as they came
    kept = [key for key in ordered if len(key) <= MOST_NAME][:MOST_LABELS]
    if len(kept) < len(given):
        cut.append(f"{where}: {len(given) - len(kept)} of {len(given)} were left out")
    long = [key for key in kept if len(given[key]) > MOST_TEXT]
    cut += [f"{where}.{key[:60]} was cut from {len(given[key])} to {MOST_TEXT} characters" for key in long]
    return {key: _text(given[key], MOST_TEXT) for key in kept}


def _text(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = _text(".".join(str(part) for part in first["loc"]), MOST_PLACE)
    return f"{where}: {first['msg']}".lstrip(": ")


class SetAside(BaseModel):
    """An alert that was not kept."""

    alert: int
    reason: str
