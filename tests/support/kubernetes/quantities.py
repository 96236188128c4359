"""Amounts of resources: `500m`, `64Gi`, `1`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_UNITS = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
_UNITS |= {letter: Decimal(1000) ** power for power, letter in enumerate("kMGTPE", 1)}
_UNITS |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}


def amount(text: Any) -> Decimal:
    """The number that a quantity stands for."""
    found = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkMGTPE]?i?)", str(text))
    if not found or found[2] not in _UNITS:
        raise ValueError(f"not a quantity: {text!r}")
    return Decimal(found[1]) * _UNITS[found[2]]


def plain(number: Decimal) -> str:
    """A quantity in its plainest form; thousandths where it is not whole."""
    return str(int(number)) if number == int(number) else f"{int(number * 1000)}m"


def requests(pod: dict[str, Any], of: str = "requests") -> dict[str, Decimal]:
    """What a pod asks for: the sum of its containers, or one init container where that is more."""
    total: dict[str, Decimal] = {}
    for container in pod["spec"]["containers"]:
        for name, text in (container.get("resources", {}).get(of) or {}).items():
            total[name] = total.get(name, Decimal(0)) + amount(text)
    for container in pod["spec"].get("initContainers") or []:
        for name, text in (container.get("resources", {}).get(of) or {}).items():
            total[name] = max(total.get(name, Decimal(0)), amount(text))
    return total
