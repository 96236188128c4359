"""`nightshift suite renew`: bring what people said into the suite's file, and replace a stated part of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.conversations import conversation_key
from pipelines.core.errors import InputError
from pipelines.data.held_back import hold_back
from pipelines.data.reader.files import form_of
from pipelines.evaluation.suite import Item, digest_of_items, items_in, line_of, suite_items
from pipelines.evaluation.suite_place import replace_suite, suite_file, suite_version
from pipelines.evaluation.tasks import Task, task_of
from pipelines.policy.night.renewal import SINCE, Renewed, Reviewed, apply_reviews, renew
from pipelines.stores import open_ledger
from pipelines.stores.ledger.tables import RENEWALS
from pipelines.stores.suites import reviews
from pipelines.stores.suites.asked import keep_suite, kept_digests, kept_suite
from pipelines.stores.suites.proposals import Proposal, proposals


def renew_suite(config: Config, share: float, actor: str, as_json: bool) -> int:
    """Raises InputError for a share that is none, and where nothing waits to come into the suite."""
    if not 0 <= share <= 1:
        raise InputError(f"--share is {share:g}.", "Name a share from 0 to 1, such as 0.2.")
    place = config.path(config.evaluate.suite)
    version = suite_version(place)  # before the items are read: what changes from here on is noticed
    suite = _suite(config) if version else []
    reviewed = _reviewed(config)
    newcomers = _newcomers(config, reviewed, suite)
    applied = apply_reviews(suite, reviewed)
    renewed = renew(applied, newcomers, share, len(suite) or len(newcomers), config.seed)
    if list(renewed.items) == suite:
        raise InputError(
            f"Nothing changes: {len(newcomers)} accepted items wait for a place, and --share is {share:g}.",
            "Accept items with `nightshift suite review`, or name a larger --share.",
        )
    _write(config, place, version, suite, renewed)
    summary = _record(config, suite, renewed, actor)
    print(json.dumps(summary, indent=1, ensure_ascii=False) if as_json else _in_words(place, suite, renewed))
    return 0


def _suite(config: Config) -> list[Item]:
    """The items of the file. Raises InputError for a file that could not be written again as it is."""
    file = suite_file(config)
    form = form_of(file, file.name)
    if form.kind != "JSON" or form.packing:
        raise InputError(
            f"The suite {file} is {form.packing or form.kind}, and a renewed one is written as JSON lines.",
            "Write it as JSON lines first, and name that file as evaluate.suite.",
        )
    return suite_items(config)


def _reviewed(config: Config) -> dict[str, Reviewed]:
    """By question, the reviews that count; of several proposals with one question the newest review.

    An edited answer that is none of the task by now, as its labels changed, counts for nothing.
    """
    said, task = reviews.reviews(config), task_of(config)
    by_key: dict[str, list[Proposal]] = {}
    for one in proposals(config).values():
        by_key.setdefault(one.key, []).append(one)
    found = {key: _review_of(config, task, key, some, said) for key, some in by_key.items()}
    return {key: review for key, review in found.items() if review}


def _review_of(
    config: Config, task: Task, key: str, some: Sequence[Proposal], said: reviews.History
) -> Reviewed | None:
    counted = [(last, one) for one in some if (last := reviews.standing(said.get(one.digest, ())))]
    if not counted:
        return None
    last, proposal = max(counted, key=lambda pair: pair[0].at)
    edits = [review for one in some for review in said.get(one.digest, ()) if review.verdict == "edited"]
    own = {review: task.read(reviews.own_answer(config, review)) for review in edits}
    answers = frozenset(filter(None, [*own.values(), *(one.item["answer"] for one in some)]))
    if last.verdict == "dropped":
        return Reviewed(key, None, answers)
    answer = own[last] if last.verdict == "edited" else task.read(proposal.item["answer"])
    return Reviewed(key, {**proposal.item, "answer": answer, "reviewed": True}, answers) if answer else None


def _newcomers(config: Config, reviewed: Mapping[str, Reviewed], suite: Sequence[Item]) -> list[Item]:
    """Accepted items that no suite ever held, the oldest proposal first. An item never comes back."""
    held = {conversation_key(item["messages"]) for item in suite}
    for digest in kept_digests(config):
        held |= (kept_suite(config, digest) or {}).keys()
    today = datetime.now(UTC).date().isoformat()
    fit = (one.item for key, one in reviewed.items() if one.item and key not in held)
    return [{**item, SINCE: today} for item in fit]


def _write(config: Config, place: str, version: str, suite: Sequence[Item], renewed: Renewed) -> None:
    """The earlier suite is kept, the new one is read once as nights read it, and then takes its place."""
    data = "".join(map(line_of, renewed.items)).encode()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "suite.jsonl"
        file.write_bytes(data)
        items = items_in(config, file, lambda messages: None, "renewed suite")
    for kept in (suite, items):
        if kept:
            keep_suite(config, digest_of_items(kept), kept)
    hold_back(config, [], place, [item["messages"] for item in renewed.joined])
    replace_suite(config, place, data, version)


def _record(config: Config, suite: Sequence[Item], renewed: Renewed, actor: str) -> dict[str, Any]:
    """Write the renewal to the ledger; returns its row and which items came and left."""
    at, digest = datetime.now(UTC).isoformat(), digest_of_items(renewed.items)
    row = {
        "at": at,
        "suite": digest,
        "previous": digest_of_items(suite) if suite else "",
        "items": len(renewed.items),
        "joined": len(renewed.joined),
        "retired": len(renewed.retired),
        "actor": actor,
    }
    open_ledger(config).append(RENEWALS, {"id": f"{at}.{digest[:16]}", **row})
    ids = {name: [item["id"] for item in getattr(renewed, name)] for name in ("joined", "retired")}
    counts = {
        name: getattr(renewed, name) for name in ("dropped", "edited", "marked", "conflicts", "waiting")
    }
    return row | {f"{name}_ids": found for name, found in ids.items()} | counts


def _in_words(place: str, suite: Sequence[Item], renewed: Renewed) -> str:
    lines = [
        f"{len(renewed.items)} items in {place}, {len(renewed.joined)} of them new; there were {len(suite)}.",
        f"Reviews: {renewed.marked} marked as reviewed, {renewed.edited} with another answer, "
        f"{renewed.dropped} dropped.",
    ]
    if renewed.retired:
        lines.append(
            f"{len(renewed.retired)} left: those that were longest in the suite, as nights asked them most; "
            "of those that came on one day a hash with the profile's seed decided."
        )
    if renewed.conflicts:
        lines.append(
            f"{renewed.conflicts} reviewed items have another answer in the file than the person saw: "
            "they stay as the file has them."
        )
    if renewed.waiting:
        lines.append(f"{renewed.waiting} accepted items wait for a place: a larger --share lets them in.")
    return "\n".join(lines)
