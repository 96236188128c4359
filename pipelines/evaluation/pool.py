"""A pool of frozen items, each of which serves one claim: their order, and tonight's.

An item joins the order at the end, on the first night that finds it in the file; those that join together are
ordered by a hash. A night asks the next ones after the last item that a recorded decision asked. So one text
in each decision says what was asked, and items that are added, moved or removed are never asked twice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.conversations import conversation_key
from pipelines.core.facts.common import Waiting
from pipelines.core.facts.record import decision_facts
from pipelines.data.dedupe import NearDuplicates
from pipelines.data.embedder import Embedder
from pipelines.data.held_back import hold_back
from pipelines.data.training_rows import questions
from pipelines.evaluation.suite import Item, items_in, suite_items
from pipelines.evaluation.suite_place import file_of_items
from pipelines.stores import has_ledger, open_ledger, open_shared

FOLDER = "pool"  # below `shared_root`: which items joined when
NEVER = ""  # the position of an item that nearly repeats another one


@dataclass(frozen=True)
class Drawn:
    """Items that no other claim asked. `position`: of the last one. `left`: items after it."""

    items: list[Item]
    position: str = NEVER
    left: int = 0


def items_of_pool(config: Config) -> list[Item]:
    """Raises InputError like `suite_items`."""
    return items_in(config, file_of_items(config, config.evaluate.pool), lambda messages: None, "pool")


def join(config: Config) -> None:
    """New items of the pool are kept out of training for good, and join the order.

    What nearly repeats the suite, or an earlier item of the pool, is never asked.
    """
    items, known = items_of_pool(config), _positions(config)
    keys = [conversation_key(item["messages"]) for item in items]
    new = [place for place, key in enumerate(keys) if key not in known]
    if not new:
        return
    old = [place for place, key in enumerate(keys) if key in known]
    first = [*suite_items(config), *(items[place] for place in old)]
    copies = _near(config).within(
        questions([*first, *(items[place] for place in new)], config.task.system_prompt)
    )
    repeats = {new[place - len(first)] for place in copies if place >= len(first)}
    now = datetime.now(UTC).isoformat("T", "seconds")
    positions = {
        keys[place]: NEVER if place in repeats else _position(config, now, keys[place]) for place in new
    }
    hold_back(config, [], config.path(config.evaluate.pool), [items[place]["messages"] for place in new])
    _write(config, now, positions)


def pool_tonight(config: Config, run_id: str, waiting: Waiting | None) -> Drawn:
    """The items that this run asks: none for a candidate whose first night asked none."""
    if not config.evaluate.pool or (waiting and waiting.pool is None):
        return Drawn([])
    positions, asked = _positions(config), asked_until(config, run_id)
    items = {positions.get(conversation_key(item["messages"]), NEVER): item for item in items_of_pool(config)}
    left = sorted(position for position in items if position > asked)
    drawn = left[: config.evaluate.pool_items]
    return Drawn(
        [items[position] for position in drawn], drawn[-1] if drawn else asked, len(left) - len(drawn)
    )


def left_of_pool(config: Config) -> int:
    """How many items no claim asked, also those that did not join yet. Near copies among them count too."""
    positions, asked = _positions(config), asked_until(config, "") if has_ledger(config) else NEVER
    keys = (conversation_key(item["messages"]) for item in items_of_pool(config))
    return sum(key not in positions or positions[key] > asked for key in keys)


def without_suite(config: Config, drawn: list[Item], suite: list[Item]) -> list[Item]:
    """Without what nearly repeats the suite, which may have changed since the items joined."""
    if not drawn:
        return []
    system = config.task.system_prompt
    repeats = set(_near(config).matching(questions(drawn, system), questions(suite, system)))
    return [item for place, item in enumerate(drawn) if place not in repeats]


def asked_until(config: Config, run_id: str) -> str:
    """The position up to which runs that were decided before this one asked."""
    decided = (decision_facts(one.facts).pool_position for one in open_ledger(config).decided_before(run_id))
    return max(filter(None, decided), default=NEVER)


def drawn_digest(drawn: Drawn) -> str:
    """Names the items and their answers."""
    return digest_of([[conversation_key(item["messages"]), item["answer"]] for item in drawn.items])


def about_pool(config: Config, drawn: Drawn) -> str:
    """What people should know of a pool that is used up, or soon is."""
    night, place = config.evaluate.pool_items, config.path(config.evaluate.pool)
    if not config.evaluate.pool or drawn.left >= night:
        return ""
    if not drawn.items:
        return (
            f"The pool {place} is used up: each of its items served a claim. Until new ones are added, fresh"
            " rows of users decide, or the first night."
        )
    return f"The pool {place} has {drawn.left} items left, and a night asks {night}: add new ones."


def _near(config: Config) -> NearDuplicates:
    embedder = Embedder(config.model.embedder, config.model.threads)
    return NearDuplicates(embedder, config.curate.near_duplicate_similarity)


def _position(config: Config, joined: str, key: str) -> str:
    return f"{joined} {hashlib.sha256(f'{config.seed} {key}'.encode()).hexdigest()[:16]}"


def _positions(config: Config) -> dict[str, str]:
    """Key -> position of each item that joined; the first one where two machines noted it at once."""
    shared = open_shared(config)
    read = shared.read_many([path for path in shared.files(FOLDER) if path.endswith(".json")])
    found: dict[str, str] = {}
    for path in sorted(read):
        found = json.loads(read[path]) | found
    return found


def _write(config: Config, now: str, positions: dict[str, str]) -> None:
    data = json.dumps(positions, indent=0, sort_keys=True).encode()
    name = f"{now[:19].replace(':', '')}-{hashlib.sha256(data).hexdigest()[:16]}.json"
    open_shared(config).write_bytes(f"{FOLDER}/{name}", data)
