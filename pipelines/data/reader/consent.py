"""Columns that speak of consent, or hold a system prompt, under a name that is not ours. Pure.

None of them may be ignored in silence: whoever said no would be learned from, and a prompt without its
instructions is another prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pipelines.data.reader.mapping import opened

MOST_DEPTH = 4  # of objects inside objects
LEARN = "(train|learn|fine_?tun|use_?to_?improv)"
AGAINST = re.compile(  # words are parted by _
    rf"(^|_)opt(ed|s|ing)?_?out(_|$)|(^|_)(do_?)?(no|not|dont|don_t|never)_?(be_?)?(used?_?)?(for_?|in_?|to_?|on_?)?"
    rf"(model_?)?{LEARN}|(^|_)(exclude[ds]?|exempt|block|refuse[ds]?|deny|denie[ds])_(from_|for_)?(model_?)?{LEARN}"
)
IN_FAVOUR = re.compile(
    rf"(^|_)opt(ed|s)?_?in(_(to|for|status|flag|{LEARN}.*))?$|^((is|has|user|data)_)?consent(s|ed|_given|_granted|_status)?$"
    rf"|(^|_)(consent.*|allow(s|ed)?|permit(s|ted)?|agree[sd]?|(may|can|ok)(_be)?(_use)?|used?|usable)"
    rf"_((to|for|in)_)?(model_?)?{LEARN}|(^|_){LEARN}[a-z]*_(consent|allowed|permitted|permission|ok)"
)
SYSTEM = {
    "system",
    "systemprompt",
    "systemmessage",
    "systeminstruction",
    "systeminstructions",
    "instructions",
}
DETAILS = {"meta", "metadata", "attributes", "properties", "extra", "tags", "custom"}  # may be a text of JSON


def meant_by(name: str) -> str | None:
    """The name of ours that a column seems to be: opt_out, opt_in or system; None for any other."""
    return _meant(name)


@lru_cache(maxsize=10_000)
def _meant(name: str) -> str | None:
    words = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
    if AGAINST.search(words):
        return "opt_out"
    if IN_FAVOUR.search(words):
        return "opt_in"
    return "system" if words.replace("_", "") in SYSTEM else None


def consents_in(row: Mapping[str, Any], before: str = "", depth: int = 1) -> list[str]:
    """The dotted names of all that speaks of consent, also inside objects."""
    consents, details = _telling(tuple(row))
    found = [f"{before}{name}" for name in consents]
    inside = [(name, value) for name, value in row.items() if type(value) is dict]
    inside += [(name, opened(row[name])) for name in details if isinstance(row[name], str)]
    for name, value in inside:
        if depth < MOST_DEPTH and isinstance(value, dict):
            found += consents_in(value, f"{before}{name}.", depth + 1)
    return found


@lru_cache(maxsize=1_000)
def _telling(names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Of these names, those of consent, and those of details that may be a text of JSON."""
    consents = [name for name in names if _meant(name) in ("opt_out", "opt_in")]
    return consents, [name for name in names if re.sub(r"[^a-z0-9]", "", name.lower()) in DETAILS]
