"""What columns mean, by their names and values. Every guess is shown, and a profile can correct it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from datetime import UTC
from typing import Any

from pipelines.core.config.columns import rating_key
from pipelines.data.reader import cells
from pipelines.data.reader.cells import Unfit
from pipelines.data.reader.mapping import ABSENT, at, opened

_NAMES = """
request_id       requestid reqid interactionid messageid responseid uuid id traceid
ts               ts timestamp createdat created datetime time date loggedat starttime
tenant           tenant tenantid customer customerid organization organisation org orgid account accountid
tenant           workspace team teamid company
subject_id       subjectid userid user enduser enduserid personid person uid username
messages         messages conversation conversations chat history dialog dialogue turns
prompt           prompt question query input usermessage instruction request text
completion       completion response answer output reply generation prediction modelanswer
completion       assistantmessage botresponse
rating           rating thumb thumbs feedback stars score vote liked reaction userrating userfeedback value
correction       correction corrected correctedanswer expected expectedoutput ideal better goldanswer
correction       correctanswer
locale           locale language lang
channel          channel source platform client
tokens_in        tokensin prompttokens inputtokens
tokens_out       tokensout completiontokens outputtokens
latency_ms       latencyms durationms responsetimems elapsedms
opt_out          optout optedout donottrain notraining
conversation_id  conversationid sessionid threadid chatid
feedback_ts      feedbackts feedbackat feedbacktime ratedat
adapter          adapter model modelname
route            route
tools            tools functions
"""  # ours, and how others call it, without signs and in small letters, the likeliest first
_WORDS = """
good             up thumbsup thumbs_up like liked good positive yes true +1 👍 helpful
bad              down thumbsdown thumbs_down dislike disliked bad negative no false -1
bad              👎 unhelpful not_helpful
neutral          neutral none 0 ok meh mixed
"""


def _lists(table: str) -> dict[str, list[str]]:
    """First word of a line -> its other words; a word may have several lines."""
    found: dict[str, list[str]] = {}
    for first, *others in (line.split() for line in table.strip().splitlines()):
        found.setdefault(first, []).extend(others)
    return found


NAMES, SIDES = _lists(_NAMES), _lists(_WORDS)
FEEDBACK_TIMES = ["ts", "timestamp", "createdat", "created", "time", "date", "when"]
ENOUGH = 0.5  # of the values of a column must be of the kind that its name promises
MOST_VALUES = 12  # of a rating scale
Rows = Sequence[Mapping[str, Any]]


def columns_of(names: Sequence[str], rows: Rows) -> dict[str, str]:
    """Ours -> theirs, where a name is known and its values fit. A name that is ours already is left out."""
    found: dict[str, str] = {}
    for ours in NAMES:
        theirs = _named(ours, names, rows, set(found.values()))
        if theirs and not (ours == "prompt" and "messages" in found):
            found[ours] = theirs
    return {ours: theirs for ours, theirs in found.items() if ours != theirs}


def feedback_columns_of(names: Sequence[str], rows: Rows) -> dict[str, str]:
    """The same for a separate file of feedback. A time there is the time of the feedback."""
    found: dict[str, str] = {}
    for ours in ("request_id", "feedback_ts", "rating", "correction"):
        aliases = NAMES[ours] + (FEEDBACK_TIMES if ours == "feedback_ts" else [])
        theirs = _named(ours, names, rows, set(found.values()), aliases)
        if theirs:
            found[ours] = theirs
    return {ours: theirs for ours, theirs in found.items() if ours != theirs}


def column_holding(ids: Set[str], names: Sequence[str], rows: Rows) -> str | None:
    """The column that names the most of these requests, if at least half of its values do."""
    shares = {name: _share_within(ids, name, rows) for name in names}
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and shares[best] >= ENOUGH else None


def _share_within(ids: Set[str], name: str, rows: Rows) -> float:
    values = [value for row in rows if isinstance(value := at(row, name), str | int)]
    return sum(str(value) in ids for value in values) / max(1, len(values))


def scale_of(values: Sequence[Any]) -> dict[str, Any]:
    """`[ingest.rating]` for the values of a column; {} where the default or nothing fits."""
    known = [
        value for value in values if not cells.is_blank(value) and isinstance(value, bool | int | float | str)
    ]
    keys = Counter(rating_key(value) for value in known)
    if not keys or (set(keys) <= {-1.0, 0.0, 1.0} and -1.0 in keys) or set(keys) == {1.0}:
        return {}
    numbers = sorted(key for key in keys if isinstance(key, float))
    if len(numbers) == len(keys):
        return _number_scale(numbers)
    words = [key for key in keys if isinstance(key, str)]
    if len(keys) > MOST_VALUES:
        return {}
    scale = {side: sorted(word for word in words if _word(word) in known) for side, known in SIDES.items()}
    return scale if scale["good"] or scale["bad"] else {}


def _number_scale(numbers: list[float]) -> dict[str, Any]:
    if set(numbers) <= {0.0, 1.0}:
        return {"good": [1], "bad": [0], "neutral": []}
    if set(numbers) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}:
        return {"good": [4, 5], "bad": [0, 1, 2], "neutral": [3]}
    if numbers[0] >= 0 and numbers[-1] <= 1:
        return {"good": [], "bad": [], "neutral": [], "good_from": 0.7, "bad_to": 0.3}
    if numbers[0] >= 0 and numbers[-1] <= 10:
        return {"good": [], "bad": [], "neutral": [], "good_from": 8, "bad_to": 4}
    return {}


def _named(
    ours: str, names: Sequence[str], rows: Rows, taken: set[str], aliases: Sequence[str] | None = None
) -> str | None:
    """The column with our name, else the first whose name is a known one and whose values fit."""
    if ours in names:
        return ours
    for alias in aliases or NAMES[ours]:
        for name in names:
            if name not in taken and _plain(name) == alias and _fits(ours, name, rows):
                return name
    return None


def _plain(name: str) -> str:
    """The last part of a path, without signs, in small letters."""
    return re.sub(r"[^a-z0-9]", "", name.rpartition(".")[2].lower())


def _word(key: str) -> str:
    joined = key.replace(" ", "_").replace("-", "_") if len(key) > 2 else key
    return joined if any(joined in words for words in SIDES.values()) else joined.replace("_", "")


def _fits(ours: str, theirs: str, rows: Rows) -> bool:
    values = [value for row in rows if not cells.is_missing(value := at(row, theirs)) and value is not ABSENT]
    good = sum(_is_of_its_kind(ours, value) for value in values)
    return not values or good >= ENOUGH * len(values)


def _is_of_its_kind(ours: str, value: Any) -> bool:
    match ours:
        case "messages" | "tools":
            return isinstance(opened(value), list)
        case "prompt" | "completion" | "correction":
            return isinstance(value, str) and not value.lstrip().startswith(("[{", "{"))
        case "rating":
            return not isinstance(value, list | Mapping) and not (isinstance(value, str) and len(value) > 24)
        case "opt_out":
            return _reads(cells.as_bool, value)
        case "ts" | "feedback_ts":
            return _reads(lambda one: cells.as_time(one, UTC), value)
        case "tokens_in" | "tokens_out" | "latency_ms":
            return _reads(cells.as_number, value)
    return _reads(cells.as_id, value)


def _reads(read: Any, value: Any) -> bool:
    try:
        read(value)
    except Unfit:
        return False
    return True
