"""Rows of JSON: an object a line, an array of objects, or one object whose `data` is such an array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any, TextIO

from pipelines.core.errors import InputError
from pipelines.core.json_texts import MAX_DEPTH, is_deep
from pipelines.data.reader.consent import meant_by
from pipelines.data.reader.raw import Raw
from pipelines.data.reader.strict_json import Twins, twice, unclear, without_twins
from pipelines.data.reader.text import LONE_SURROGATE, MAX_LINE, NOT_UTF8, is_sound, mended

MAX_DOCUMENT = 1 << 26  # characters; an array or object over many lines is held in memory
TWINS = "a key that stands twice in one object"
TOO_DEEP = "JSON that is nested too deeply"
ROW_NAMES = {"messages", "prompt", "completion", "conversations", "choices", "request_id"}
TOO_LONG = f"a line of more than {MAX_LINE >> 20} million characters"


def json_rows(text: TextIO, name: str) -> Iterator[Raw]:
    """Every row of a JSON file; blank lines are none. Raises InputError for a document that is not JSON."""
    first = _filled_line(text)
    if _is_cut(first) and not first.lstrip().startswith("["):
        _skip_line(text)
    second = _filled_line(text)
    if _is_document(first, second):
        yield from _document(first + second, text, name)
    else:
        if _is_cut(second):
            _skip_line(text)
        yield from (_row_of(line) for line in chain((first, second), _lines(text)) if line.strip())


def _lines(text: TextIO) -> Iterator[str]:
    for line in iter(lambda: text.readline(MAX_LINE), ""):
        if _is_cut(line):
            _skip_line(text)
        yield line


def _is_cut(line: str) -> bool:
    """Whether the line goes on: it is longer than a line may be."""
    return len(line) == MAX_LINE and not line.endswith("\n")


def _filled_line(text: TextIO) -> str:
    """The next line that is not blank; "" at the end."""
    while (line := text.readline(MAX_LINE)) and not line.strip():
        pass
    return line


def _skip_line(text: TextIO) -> None:
    while (rest := text.readline(MAX_LINE)) and not rest.endswith("\n"):
        pass


def _row_of(line: str) -> Raw:
    if _is_cut(line):
        return Raw(None, TOO_LONG)
    line = line.rstrip("\r\n")
    try:
        value, twin = _read(line)
    except RecursionError:
        return Raw(None, TOO_DEEP)
    except ValueError as error:
        return Raw(None, "not JSON" if is_sound(line) else NOT_UTF8, _where(error), str(mended(line)))
    is_flat = line.count("[") + line.count("{") <= MAX_DEPTH  # quick, and true of most rows
    return _checked(value, line, twin) if is_flat or not is_deep(value) else Raw(None, TOO_DEEP)


def _read(line: str) -> tuple[Any, str | None]:
    """The value, and a key that stands twice in one of its objects. Raises ValueError, RecursionError."""
    try:
        return json.loads(line, object_pairs_hook=without_twins), None
    except Twins as twins:
        return json.loads(line, object_pairs_hook=unclear), twins.key


def _checked(value: Any, line: str, twin: str | None) -> Raw:
    """The row, mended where a text of it is no valid Unicode: `line` alone does not show \\ud800."""
    if not isinstance(value, dict):
        return Raw(None, f"not a JSON object, but {KINDS[type(value)]}", "", str(mended(line)))
    if twin is not None:
        return Raw(mended(value), TWINS, twin, str(mended(line)))
    if not is_sound(line):
        return Raw(mended(value), NOT_UTF8, text=str(mended(line)))
    if "\\ud" in line.lower() and not is_sound(json.dumps(value, ensure_ascii=False)):
        return Raw(mended(value), LONE_SURROGATE, text=line)
    return Raw(value, text=line)


def _is_document(first: str, second: str) -> bool:
    """Whether the file is one value over many lines, or one array (or `data` with one) in one line."""
    start = first.strip()
    if start in ("{", "["):
        return True
    if start.startswith("["):
        return not second or not _is_json(start)
    return not second and '"data"' in start and _is_json(start)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _document(begun: str, text: TextIO, name: str) -> Iterator[Raw]:
    whole = begun + text.read(max(0, MAX_DOCUMENT - len(begun)))
    if text.read(1):
        raise InputError(
            f"{name} is one JSON value of more than {MAX_DOCUMENT >> 20} million characters.",
            "Write it as JSON lines: one object a line.",
        )
    try:
        value = json.loads(whole, object_pairs_hook=_marked)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{name} is not JSON ({_where(error)}).", "Correct it there, or deliver the file again, whole."
        ) from error
    items = value["data"] if _is_wrapper(value) else value
    for item in items if isinstance(items, list) else [value]:
        yield Raw(None, TOO_DEEP) if is_deep(item) else _row_of_item(item)


def _row_of_item(item: Any) -> Raw:
    return _checked(item, json.dumps(item, ensure_ascii=False), _twin_in(item))


def _is_wrapper(value: Any) -> bool:
    """Whether an object only holds the rows: its `data` is a list of objects, and it is no row itself."""
    items = value.get("data") if isinstance(value, dict) else None
    names = value.keys() if isinstance(value, dict) else ()
    is_row = any(name in ROW_NAMES or meant_by(name) for name in names)
    return bool(items) and isinstance(items, list) and not is_row


class _Twin(dict[str, Any]):
    """An object in which the key `twin` stands twice."""

    twin = ""


def _marked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    marked = _Twin(unclear(pairs))
    marked.twin = twice(pairs)
    return marked


def _twin_in(value: Any) -> str | None:
    """A key that stands twice in one of the objects inside; None where there is none."""
    if isinstance(value, _Twin):
        return value.twin
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((twin for one in inner if (twin := _twin_in(one)) is not None), None)


def _where(error: Exception) -> str:
    """What the parser says, without any of the text."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, character {error.colno}"
    return "a number is too long" if isinstance(error, ValueError) else "it is nested too deeply"


KINDS: dict[type, str] = {
    str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list", type(None):
    "null", dict: "an object",
}  # fmt: skip
