"""Whether a file has the columns that the settings ask for, and what to write where it has not. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches

from pipelines.core.config.data import Ingest
from pipelines.core.interactions import COLUMNS, CONSENT
from pipelines.data.reader.consent import meant_by

HISTORY = {"history", "chathistory", "conversationhistory", "messagehistory", "previousmessages", "preamble"}
MOST_NAMED = 20  # columns that a sentence lists


def unusable_columns(
    name: str,
    found: Iterable[str],
    settings: Ingest,
    consents: Iterable[str] = (),
    systems: Iterable[str] = (),
) -> list[str]:
    """Sentences on a file whose columns cannot be used as they are; none where all is well.

    `consents` are the dotted names that speak of consent, which no format may ignore; `systems` are those of
    system prompts.
    """
    columns, mapping = list(found), settings.columns
    if not columns:
        return []
    wrong, unread = [], list(consents)
    if settings.format == "nightshift":
        wrong += misspelt(COLUMNS, columns, mapping, settings.ignore, "ingest.columns")
        wrong += _system_elsewhere(systems, settings)
        wrong += _history_elsewhere(columns, settings)
        if not _conversation_in(columns, mapping):
            wrong.append(_without_messages(columns))
        if "opt_out" not in {*columns, *mapping}:  # misspelt() has said it
            unread = [path for path in unread if path != spelling_of("opt_out", columns)]
    wrong += unread_consents(unread, mapping, settings.ignore, "ingest.columns")
    return [f"{name} {sentence}" for sentence in wrong]


def unread_consents(
    consents: Iterable[str], mapping: Mapping[str, str], ignored: Iterable[str], setting: str
) -> list[str]:
    """A sentence where something speaks of consent that nothing reads."""
    read = {*mapping.values(), *ignored, *(name for name in CONSENT if name not in mapping)}
    unread = [path for path in consents if not any(_covers(one, path) for one in read)]
    if not unread:
        return []
    lines = "; ".join(map(_advice, unread[:MOST_NAMED]))
    return [
        f"has {listed(unread)}, which seems to say who wants no learning. Write {lines} under [{setting}]; "
        "if it means something else, name it in ingest.ignore."
    ]


def _covers(read: str, path: str) -> bool:
    """Whether a name that is read is this path, or one inside of it."""
    return read == path or read.startswith(f"{path}.")


def _advice(path: str) -> str:
    leaf = path.removesuffix(".value").rpartition(".")[2]
    meant = meant_by(leaf)
    if meant == "consent":
        return f'opt_out = "{path}" where true means no learning, or opt_in = "{path}" where true allows it'
    return f'{meant} = "{path}"'


def absent_columns(seen: Iterable[str], columns: Mapping[str, str], setting: str) -> list[str]:
    """A sentence for each name in a mapping that no file has."""
    found = list(seen)
    return [
        f"{setting} reads {ours} from {theirs}, but the files have no such column. {_nearest(theirs, found)}"
        for ours, theirs in columns.items()
        if found and theirs not in found and theirs.partition(".")[0] not in found
    ]


def spelling_of(name: str, columns: Sequence[str], but: Collection[str] = ()) -> str | None:
    """The column that is the same name in another spelling: another case, spaces, underscores."""
    return next((one for one in columns if one not in but and _plain(one) == _plain(name)), None)


def misspelt(
    names: Sequence[str],
    columns: Sequence[str],
    mapping: Mapping[str, str],
    ignored: Sequence[str],
    setting: str,
) -> list[str]:
    """A sentence where columns have a name of ours in another spelling. Nobody wants Rating to be ignored."""
    used = {*mapping.values(), *ignored, *names}
    twins = {name: twin for name in names if (twin := spelling_of(name, columns, used)) is not None}
    absent = {name: twin for name, twin in twins.items() if name not in mapping and name not in columns}
    beside = {name: twin for name, twin in twins.items() if name in columns}
    return _to_write(absent, setting) + [
        f"has {twin} beside {name}, and nothing reads it. Give both one name, or list it in ingest.ignore."
        for name, twin in beside.items()
    ]


def _system_elsewhere(systems: Iterable[str], settings: Ingest) -> list[str]:
    """A sentence where a system prompt stands beside the conversation, and nothing reads it."""
    mapping = settings.columns
    asked = [mapping.get(name, name).rpartition(".")[0] for name in ("messages", "prompt")]
    read = {mapping.get("system", "system"), *mapping.values(), *settings.ignore}
    unread = [path for path in systems if path.rpartition(".")[0] in asked and path not in read]
    return _to_write({"system": unread[0]} if unread else {}, "ingest.columns")


def _history_elsewhere(columns: Sequence[str], settings: Ingest) -> list[str]:
    """A sentence where earlier turns stand beside the question."""
    used = {*settings.columns.values(), *settings.ignore}
    found = [column for column in columns if _plain(column) in HISTORY and column not in used]
    words = (
        "which the model saw if it holds earlier turns. Join it into messages, or list it in ingest.ignore."
    )
    return [f"has {listed(found)}, {words}"] if found else []


def _to_write(twins: Mapping[str, str], setting: str) -> list[str]:
    lines = ", ".join(f'{ours} = "{theirs}"' for ours, theirs in twins.items())
    return [f"has {listed(twins.values())}. Write under [{setting}]: {lines}."] if twins else []


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
    return f"has no column messages. Its columns are {listed(columns)}.{hint}"


def _nearest(name: str, columns: Sequence[str]) -> str:
    near = get_close_matches(name, columns, 1) or get_close_matches(_plain(name), columns, 1)
    return f"The nearest is {near[0]}." if near else f"They have {listed(columns)}."


def listed(columns: Iterable[str]) -> str:
    """Names in a sentence, long ones and all beyond the first twenty shortened."""
    names = [name if len(name) <= 60 else f"{name[:60]}..." for name in columns]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
