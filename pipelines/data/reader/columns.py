"""Whether a file has the columns that the settings ask for, and what to write where it has not. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import COLUMNS

MOST_NAMED = 20  # columns that a sentence lists


def unusable_columns(name: str, found: Iterable[str], settings: Ingest) -> list[str]:
    """Sentences on a file whose columns cannot be used as they are; none where all is well."""
    columns = list(found)
    if not columns or settings.format != "nightshift":
        return []
    wrong = _misspelt(columns, settings.columns)
    if not _conversation_in(columns, settings.columns):
        wrong.append(_without_messages(columns))
    return [f"{name} {sentence}" for sentence in wrong]


def absent_columns(seen: Iterable[str], columns: Mapping[str, str], setting: str) -> list[str]:
    """A sentence for each name in a mapping that no file has."""
    found = list(seen)
    return [
        f"{setting} reads {ours} from {theirs}, but the files have no such column. {_nearest(theirs, found)}"
        for ours, theirs in columns.items()
        if found and theirs not in found and theirs.partition(".")[0] not in found
    ]


def spelling_of(name: str, columns: Sequence[str]) -> str | None:
    """The column that is the same name in another spelling: another case, spaces, underscores."""
    return next((column for column in columns if _plain(column) == _plain(name)), None)


def _misspelt(columns: list[str], mapping: Mapping[str, str]) -> list[str]:
    """Columns of ours in another spelling. Nobody wants Opt_Out to be ignored."""
    used = set(mapping.values())
    absent = [name for name in COLUMNS if name not in mapping and name not in columns]
    twins = {name: twin for name in absent if (twin := spelling_of(name, columns)) and twin not in used}
    if not twins:
        return []
    lines = ", ".join(f'{ours} = "{theirs}"' for ours, theirs in twins.items())
    return [f"has {_listed(twins.values())}. Write under [ingest.columns]: {lines}."]


def _conversation_in(columns: list[str], mapping: Mapping[str, str]) -> bool:
    read = [mapping.get(name, name) for name in ("messages", "prompt")]
    return any(
        path in columns or path.partition(".")[0] in columns or spelling_of(path, columns) for path in read
    )


def _without_messages(columns: list[str]) -> str:
    near = get_close_matches("messages", columns, 1, 0.5) or [
        column
        for column in columns
        if _plain(column) in ("conversation", "conversations", "question", "input", "query")
    ]
    hint = f' Is it {near[0]}? Then write messages = "{near[0]}" under [ingest.columns].' if near else ""
    return f"has no column messages. Its columns are {_listed(columns)}.{hint}"


def _nearest(name: str, columns: Sequence[str]) -> str:
    near = get_close_matches(name, columns, 1) or get_close_matches(_plain(name), columns, 1)
    return f"The nearest is {near[0]}." if near else f"They have {_listed(columns)}."


def _listed(columns: Iterable[str]) -> str:
    names = [name if len(name) <= 60 else f"{name[:60]}..." for name in columns]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
