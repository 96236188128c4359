"""Our columns, by the names that others give them and by their values. Every guess is shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set

from pipelines.data.reader.mapping import at
from pipelines.operations.inspect.kinds import Rows, filled, misfit_of

_NAMES = """
request_id       requestid reqid interactionid messageid responseid completionid generationid uuid guid id
request_id       traceid
ts               ts timestamp createdat created datetime time date loggedat starttime requesttime
tenant           tenant tenantid customer customerid organization organisation org orgid organizationid
tenant           organisationid account accountid workspace workspaceid team teamid company companyid
conversation_id  conversationid sessionid threadid chatid dialogid dialogueid session
subject_id       subjectid userid user enduser enduserid personid person uid username
messages         messages conversation conversations chat history dialog dialogue turns
prompt           prompt question query usermessage userinput userquery userprompt instruction input request
prompt           inputtext human user text
completion       completion response answer output reply generation prediction modelanswer
completion       assistantmessage botresponse modeloutput outputtext modelresponse assistantresponse
completion       assistant bot
rating           rating thumb thumbs feedback stars vote liked reaction userrating userfeedback userscore
rating           score value
correction       correction corrected correctedanswer expected expectedoutput ideal better goldanswer
correction       correctanswer
locale           locale language lang
channel          channel source platform client
tokens_in        tokensin prompttokens inputtokens
tokens_out       tokensout completiontokens outputtokens
latency_ms       latencyms durationms responsetimems elapsedms
feedback_ts      feedbackts feedbackat feedbacktime ratedat
adapter          adapter model modelname
route            route
tools            tools functions
"""  # ours, and how others call it, without signs and in small letters, the likeliest first
OWNERS = {  # what an id, a time or a name inside of them is that of, and not of the request
    "user", "enduser", "person", "author", "customer", "client",
    "org", "organization", "organisation", "account",
    "tenant", "workspace", "team", "company", "conversation", "session", "thread", "chat", "dialog", "device",
    "model", "agent", "employee", "document", "doc", "product", "order", "ticket",
}  # fmt: skip
NEUTRAL = {
    "meta", "metadata", "data", "info", "attributes", "properties", "log", "record", "row", "event",
    "payload",
    "request", "response", "message", "trace", "interaction", "call", "generation", "body",
}  # fmt: skip
OWN = (
    "tenant",
    "conversation_id",
    "subject_id",
    "messages",
    "locale",
    "channel",
    "opt_out",
)  # also in owners
FEEDBACK_TIMES = ["ts", "timestamp", "createdat", "created", "time", "date", "when"]
OPINION = re.compile("feedback|rating|thumb|vote|like|stars|user|csat")
VAGUE = ("score", "value")  # names of ratings, and of much else
MOST_CANDIDATES = 12  # columns that are tried for one of ours
AS_FILLED = 0.5  # as the most filled candidate: a likelier name wins from here on


def _lists(table: str) -> dict[str, list[str]]:
    """First word of a line -> its other words; a word may have several lines."""
    found: dict[str, list[str]] = {}
    for first, *others in (line.split() for line in table.strip().splitlines()):
        found.setdefault(first, []).extend(others)
    return found


NAMES = _lists(_NAMES)


def columns_of(names: Sequence[str], rows: Rows) -> tuple[dict[str, str], dict[str, str]]:
    """(ours -> theirs, where a name is known and its values fit; theirs -> why its values do not).

    A name that is ours already is left out.
    """
    found: dict[str, str] = {}
    misfits: dict[str, str] = {}
    for ours in NAMES:
        if ours == "prompt" and "messages" in found:
            continue
        theirs = _named(ours, names, rows, set(found.values()), NAMES[ours], misfits)
        if theirs:
            found[ours] = theirs
    return {ours: theirs for ours, theirs in found.items() if ours != theirs}, misfits


def feedback_columns_of(names: Sequence[str], rows: Rows) -> dict[str, str]:
    """The same for a separate file of feedback. A time there is the time of the feedback."""
    found: dict[str, str] = {}
    for ours in ("feedback_ts", "rating", "correction"):
        aliases = NAMES[ours] + (FEEDBACK_TIMES if ours == "feedback_ts" else [])
        if theirs := _named(ours, names, rows, set(found.values()), aliases, {}):
            found[ours] = theirs
    asked = [name for name in names if name not in found.values()]
    ids = [
        name for alias in NAMES["request_id"] for name in asked if alias in plain_names("request_id", name)
    ]
    if "request_id" in names or ids:
        found["request_id"] = "request_id" if "request_id" in names else ids[0]
    return {ours: theirs for ours, theirs in found.items() if ours != theirs}


def column_holding(ids: Set[str], names: Sequence[str], rows: Rows) -> str | None:
    """The column that names the most of these requests, if at least half of its values do."""
    shares = {name: _share_within(ids, name, rows) for name in names}
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and shares[best] >= 0.5 else None


def is_vague(name: str) -> bool:
    """Whether a column may hold a model's own score as well as a rating."""
    return plain(name.rpartition(".")[2]) in VAGUE and not OPINION.search(name.lower())


def plain(name: str) -> str:
    """Without signs, in small letters."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def plain_names(ours: str, name: str) -> Iterator[str]:
    """How a column may be called: with its owner, and without where it is not the owner's own."""
    *_, owner, last = ["", *name.split(".")]
    owner, last = plain(owner), plain(last)
    if owner and owner not in NEUTRAL:
        yield owner + last
    if last in ("id", "uuid", "guid"):
        is_own = not owner or owner in NEUTRAL
    else:
        is_own = owner not in OWNERS or ours in OWN
    if is_own:
        yield last


def _share_within(ids: Set[str], name: str, rows: Rows) -> float:
    values = [value for row in rows if isinstance(value := at(row, name), str | int)]
    return sum(str(value) in ids for value in values) / max(1, len(values))


def _named(
    ours: str,
    names: Sequence[str],
    rows: Rows,
    taken: set[str],
    aliases: Sequence[str],
    misfits: dict[str, str],
) -> str | None:
    """The column with our name, else the likeliest known name, if its values fit and most rows have one."""
    known = [
        name for alias in aliases for name in names if name not in taken and alias in plain_names(ours, name)
    ]
    candidates = list(dict.fromkeys([*([ours] if ours in names else []), *known]))[:MOST_CANDIDATES]
    shares: dict[str, float] = {}
    for name in candidates:
        why = misfit_of(ours, name, rows, is_vague(name))
        if why is None:
            shares[name] = len(filled(name, rows)) / max(1, len(rows))
        elif why:
            misfits.setdefault(name, why)
    best = max(shares.values(), default=0.0)
    fitting = next((name for name in candidates if name in shares and shares[name] >= AS_FILLED * best), None)
    return fitting if fitting or ours not in names else ours
