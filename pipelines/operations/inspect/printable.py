"""Text of a log on its way to a terminal, a profile or JSON: signs that steer a terminal are written out."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import Any

HIDDEN = {
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
}  # Unicode categories that show nothing, or move what is shown
JOINERS = "\u200c\u200d"  # words of some scripts and emoji need them


def printable(text: str) -> str:
    """The text with every sign that a terminal would obey, such as an escape, as `\\x1b`."""
    return _replaced(text, lambda sign: sign.encode("unicode_escape", "surrogatepass").decode())


def as_toml(value: Any) -> str:
    """A TOML value. JSON's texts, numbers and lists are TOML's too, but for signs that are not shown."""
    return _replaced(json.dumps(value, ensure_ascii=False), _toml_escape)


def as_json(value: Any) -> str:
    """Indented JSON, without signs that a terminal would obey."""
    text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
    lines = text.split("\n")  # JSON's own; those of a text are written as \n
    return "\n".join(_replaced(line, lambda sign: json.dumps(sign)[1:-1]) for line in lines)


def _replaced(text: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(escape(sign) if _is_hidden(sign) else sign for sign in text)


def _is_hidden(sign: str) -> bool:
    return unicodedata.category(sign) in HIDDEN and sign not in JOINERS


def _toml_escape(sign: str) -> str:
    return f"\\u{ord(sign):04x}" if ord(sign) <= 0xFFFF else f"\\U{ord(sign):08x}"
