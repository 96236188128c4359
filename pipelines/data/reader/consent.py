"""Names that speak of consent, or of a system prompt, and are not ours. Pure.

None of them may be ignored in silence: whoever said no would be learned from, and a prompt without its
instructions is another prompt. A name is judged by its words. One strange word makes it another name:
`marketing_opt_in`, `no_train_found`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pipelines.data.reader.mapping import opened

MOST_WORDS = 12  # of a name
MOST_DEPTH = 12  # of objects inside objects
MOST_TEXT = 1 << 20  # characters of a text of JSON that is looked into
LEARN = re.compile(
    r"train(s|ed|ing|able)?|learn(s|ed|ing)?|finetun(e|ed|ing)|tuning|tuned|improve|dataset|zdr"
)
YES = re.compile(
    r"allow(s|ed)?|permit(s|ted)?|permission|agree[sd]?|approve[ds]?|approval|enable[ds]?|eligible|include[ds]?|"
    r"ok|may|can|us(e|es|ed|able)|accept(s|ed)?|collect(ed|ion)?|shar(e|ed|ing)|on|my|everyone"
)
NO = re.compile(
    r"no|not|dont|don|never|without|non|disable[ds]?|disallow(s|ed)?|exclude[ds]?|exempt(s|ed)?|block(s|ed)?|"
    r"forbid(s|den)?|refuse[ds]?|den(y|ies|ied)|withdr(aw|awn|ew)|revoke[ds]?|decline[ds]?|prohibit(s|ed)?|skip(s|ped)?|"
    r"remove[ds]?|object(s|ed)?|cannot|cant|prevent(s|ed)?|stop|zdr"
)
ASKS = {  # and all that begins with "consent", in several languages
    "optout": "opt_out", "optin": "opt_in", "widerspruch": "opt_out", "widersprochen": "opt_out",
    "einwilligung": "opt_in", "zustimmung": "opt_in", "toestemming": "opt_in", "consenso": "opt_in",
}  # fmt: skip
KEEP = {"store", "stored", "keep", "retain", "use", "used", "log"}  # do_not_store
GLUE = {
    "do", "does", "be", "been", "is", "are", "was", "has", "have", "had", "will", "t", "to", "for", "from",
    "in", "of", "by", "the", "a", "this", "any", "we", "us", "your", "user", "users", "person", "people",
    "customer", "customers", "tenant", "org", "organization", "organisation", "account", "team", "workspace",
    "company", "member", "owner", "subject", "global", "privacy", "gdpr", "ccpa", "dsgvo", "personal", "ai",
    "ml", "llm", "model", "models", "data", "row", "request", "conversation", "chat", "content", "status",
    "flag", "x", "http", "header", "given", "granted", "state", "value", "purpose", "purposes",
    "tune", "fine",
}  # fmt: skip
SYSTEM = {
    "system",
    "systemprompt",
    "systemmessage",
    "systeminstruction",
    "systeminstructions",
    "instructions",
}
CONTENT = {  # what people and models wrote: names in it are no columns
    "messages", "prompt", "completion", "correction", "content", "input", "output", "choices", "tools",
    "functions", "arguments", "question", "answer", "text", "conversations", "candidates", "contents",
    "parts",
}  # fmt: skip


@lru_cache(maxsize=10_000)
def meant_by(name: str) -> str | None:
    """Which of ours a column seems to be: opt_out, opt_in or system; "consent" where it may be either."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower().replace("donottrain", "do not train")
    plain = re.sub(r"[^a-z0-9]+", " ", spaced)
    words = re.sub(r"\bopt(ed|s|ing)? ?(out|in)\b", r"opt\2", plain).split()
    if "".join(words) in SYSTEM:
        return "system"
    return _meant(words) if len(words) <= MOST_WORDS else None


def _meant(words: list[str]) -> str | None:
    asks = [word for word in words if word in ASKS or word.startswith("consent")]
    learns, yes, no = ([word for word in words if known.fullmatch(word)] for known in (LEARN, YES, NO))
    strange = {*words} - {*asks, *learns, *yes, *no} - GLUE - KEEP
    keeps = words[:1] in (["do"], ["dont"]) and no and {*words} & KEEP
    shares = (
        "data" in words and {*words} & {"sharing", "collection", "collect", "share", "use"} and len(yes) > 1
    )
    if strange or not (asks or keeps or shares or (learns and (yes or no))):
        return None
    if asks:
        return ASKS.get(asks[0], "opt_in") if len(asks) == 1 and not no else "consent"
    if yes and no and learns and not keeps:
        return "consent"
    return "opt_out" if no else "opt_in"


def spoken_in(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(dotted name, what it means) of all such names, also inside objects, lists and texts of JSON."""
    return [*_spoken(row)]


def _spoken(row: Mapping[str, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    named, bare = _telling(tuple(row))
    yield from ((f"{before}{name}", meant) for name, meant in named)
    if depth < MOST_DEPTH:
        for name in bare:
            value = row[name]
            if isinstance(value, str):
                value = opened(value) if value[:1] in ("{", "[") and len(value) <= MOST_TEXT else None
            if isinstance(value, dict):
                yield from _spoken(value, f"{before}{name}.", depth + 1)
            elif isinstance(value, list):
                yield from _spoken_in_list(value, f"{before}{name}.", depth + 1)


def _spoken_in_list(items: list[Any], before: str, depth: int) -> Iterator[tuple[str, str]]:
    """Tags, pairs of a name and a value, and objects."""
    for place, item in enumerate(items[:100]):
        if isinstance(item, str) and len(item) < 40 and (meant := meant_by(item)):
            yield f"{before}{item}", meant
        elif isinstance(item, dict):
            name = item.get("key", item.get("name"))
            if isinstance(name, str) and "value" in item:
                if meant := meant_by(name):
                    yield f"{before}{name}.value", meant
            else:
                yield from _spoken(item, f"{before}{place}.", depth)


@lru_cache(maxsize=1_000)
def _telling(names: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    """Of these names, those that tell something, and those whose values may."""
    told = [(name, meant) for name in names if (meant := meant_by(name.rpartition(".")[2]))]
    return told, [name for name in names if name.lower() not in CONTENT]
