"""Reads a body as JSON without being generous: what two readers could understand differently is refused."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, NoReturn

from gateway.errors import Refusal


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises Refusal (400).

    Refused are also NaN and infinite numbers, a key that is there twice, and text that is not Unicode.
    """
    try:
        found = json.loads(
            body.decode(), object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite
        )
        json.dumps(found, ensure_ascii=False).encode()  # fails for a lone surrogate, wherever it is
    except UnicodeDecodeError:
        raise _invalid("The body is not UTF-8. Send JSON in UTF-8.") from None
    except UnicodeEncodeError as error:
        found = error.object[error.start]
        raise _invalid(
            f"The body holds the lone surrogate \\u{ord(found):04x}. Send whole characters."
        ) from None
    except RecursionError:
        raise _invalid("The body is nested too deeply. Send a flat object.") from None
    except ValueError as error:
        raise _invalid(f"The body is not valid JSON: {error}. Send one JSON object.") from None
    if not isinstance(found, dict):
        raise _invalid(f"The body is {shown(found)}. Send one JSON object.")
    return found


def shown(value: Any) -> str:
    """A value as an error shows it. What is long is not repeated."""
    if isinstance(value, str) and len(value) > 60:
        return f"a text of {len(value)} characters"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if len(text := json.dumps(value)) > 60 and not isinstance(value, str):
        return f"a number of {len(text)} digits"
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} is there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _invalid(message: str) -> Refusal:
    return Refusal(400, "invalid_request", message)
