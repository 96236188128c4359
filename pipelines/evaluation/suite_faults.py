"""What is wrong with the items of a suite, all of it in one error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines.core.conversations import conversation_key
from pipelines.core.errors import InputError

SHOWN = 20  # faults that an error lists


class Fault(NamedTuple):
    """`why` goes on from `place`: "line 3", "cannot be used: it has no messages"."""

    place: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Seen:
    """The items so far, so that none counts twice: place and answer by question, and place by id."""

    questions: dict[str, tuple[str, str]]
    names: dict[str, str]

    def fault(self, place: str, item: dict[str, Any]) -> Fault | None:
        """What is wrong with one more item, if an earlier one has its question or its id."""
        first, answer = self.questions.setdefault(conversation_key(item["messages"]), (place, item["answer"]))
        if first != place:
            other = "" if answer == item["answer"] else f" and answer {answer!r} and {item['answer']!r}"
            remedy = "Remove one of them: an item counts once."
            return Fault(f"{first} and {place}", f"ask the same{other}", remedy)
        first = self.names.setdefault(item["id"], place)
        if first != place:
            remedy = "Give each item an id of its own, or none."
            return Fault(f"{first} and {place}", f"have the same id {item['id']!r}", remedy)
        return None


def refusal(where: str, faults: Sequence[Fault]) -> InputError:
    """One error for all. `where`: the file and what it is."""
    if len(faults) == 1:
        ((place, why, remedy),) = faults
        return InputError(f"{place[:1].upper()}{place[1:]} of the {where} {why}.", remedy)
    listed = "; ".join(f"{place} {why}" for place, why, _ in faults[:SHOWN])
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return InputError(
        f"{len(faults)} items of the {where} cannot be used: {listed}{more}.",
        "Correct these items, or remove them.",
    )
