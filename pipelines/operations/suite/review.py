"""`nightshift suite review`: list the items that no person has reviewed, and accept, edit or drop each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pipelines.core.config import Config
from pipelines.core.conversations import last_question
from pipelines.core.errors import InputError
from pipelines.evaluation.suite import suite_items
from pipelines.evaluation.suite_history import is_unreviewed
from pipelines.evaluation.suite_place import suite_exists
from pipelines.stores.suites import reviews
from pipelines.stores.suites.proposals import Proposal, add_proposals, proposals

SHOWN = 70  # characters of a question
SHORT = 12  # characters of a digest


def list_unreviewed(config: Config, as_json: bool) -> int:
    """Print the items that wait for a person, the oldest first."""
    note_unreviewed(config)
    said = reviews.reviews(config)
    waiting = reviews.unreviewed(proposals(config), said)
    if as_json:
        rows = [{"digest": one.digest, "at": one.at, "source": one.source, **one.item} for one in waiting]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return 0
    for one in waiting:
        question = " ".join(last_question(one.item["messages"]).split())
        shown = question if len(question) <= SHOWN else f"{question[: SHOWN - 1]}…"
        print(f"{one.digest[:SHORT]}  {shown}  ->  {one.item['answer'][:SHOWN]}")
    print(f"{len(waiting)} items that no person has reviewed.")
    return 0


def show_item(config: Config, name: str) -> int:
    """Print one item whole, and what people said of it."""
    one = _named(proposals(config), name)
    for turn in one.item["messages"]:
        print(f"[{turn['role']}] {turn['content']}")
    print(f"[answer] {one.item['answer']}")
    print(f"{one.item.get('origin', 'an answer')} in {one.source}, proposed {one.at[:10]}")
    for review in reviews.reviews(config).get(one.digest, []):
        print(f"{review.verdict} by {review.actor} at {review.at[:16]} UTC")
    return 0


def review_items(
    config: Config, action: str, names: Sequence[str], actor: str, answer: str | None = None
) -> int:
    """`action`: accept, drop or reopen each named item. With `answer` the one item gets another answer.

    Raises InputError for a name that fits no item, or several, before anything is done.
    """
    if answer is not None and (len(names) != 1 or action != "accept"):
        raise InputError("--answer belongs to one item that is accepted.", "Name one, after `accept`.")
    found, said = proposals(config), reviews.reviews(config)
    for one in [_named(found, name) for name in names]:
        seen = len(said.get(one.digest, ()))
        if action == "accept":
            done = reviews.accept(config, one, seen, actor, answer)
        elif action == "drop":
            done = reviews.drop(config, one, seen, actor)
        else:
            done = reviews.reopen(config, one, seen, actor)
        print(f"{one.digest[:SHORT]} {done.verdict} by {done.actor}")
    return 0


def note_unreviewed(config: Config) -> int:
    """Items of the suite's file that are marked as not reviewed wait for a person, also where they are of an
    older version or were written by hand. Returns how many are new to the list.
    """
    if not suite_exists(config.path(config.evaluate.suite)):
        return 0
    marked: list[dict[str, Any]] = [item for item in suite_items(config) if is_unreviewed(item)]
    return add_proposals(config, marked, "the suite's file")


def _named(found: dict[str, Proposal], name: str) -> Proposal:
    """The item whose digest begins with `name`. Raises InputError for none, and for several."""
    fit = [one for digest, one in found.items() if name and digest.startswith(name.lower())]
    if len(fit) != 1:
        raise InputError(
            f"{len(fit)} proposed items begin with {name!r}.", "`nightshift suite review` lists their names."
        )
    return fit[0]
