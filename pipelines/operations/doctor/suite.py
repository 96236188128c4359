"""The evaluation suite: each item rendered, and right answers that the model can give."""

from __future__ import annotations

from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError
from pipelines.core.facts.record import decision_facts
from pipelines.evaluation.pool import left_of_pool
from pipelines.evaluation.suite import Item, check_suite, items_in, suite_digest
from pipelines.evaluation.suite_place import file_of_items, is_shared
from pipelines.evaluation.tasks import task_of
from pipelines.models.rendering import Rendering
from pipelines.operations.doctor.finding import Finding, failure
from pipelines.stores import open_ledger
from pipelines.stores.sql.database import SQLITE, dialect

SOON = 10  # nights for which a pool should last at least
EACH_FOR_ITSELF = (
    "Put it where all read it, such as s3://BUCKET/suite.jsonl, and name that as evaluate.suite."
)


def look_at_suite(config: Config, rendering: Rendering) -> tuple[list[Item], list[Finding]]:
    """The items, and whether each can be asked and answered."""
    try:
        items = check_suite(config, rendering.prompt)
    except NightshiftError as error:
        return [], [failure("evaluation suite", error)]
    said = f"All {len(items)} items can be asked, and their answers are answers of the task."
    found = [Finding("ok", "evaluation suite", said), *_of_all_machines(config), *_pool(config, rendering)]
    try:
        task_of(config).check(rendering, [item["answer"] for item in items])
    except NightshiftError as error:
        return items, [*found, failure("training example", error)]
    return items, [*found, _parity(rendering, items[0])]


def _pool(config: Config, rendering: Rendering) -> list[Finding]:
    """Whether the items of the pool can be asked, and how many nights it lasts."""
    if not config.evaluate.pool:
        return []
    try:
        items_in(config, file_of_items(config, config.evaluate.pool), rendering.prompt, "pool")
        left = left_of_pool(config)
    except NightshiftError as error:
        return [failure("evaluation pool", error)]
    a_night = config.evaluate.pool_items
    said = f"{left} items were never asked. At {a_night} a night they last {left // a_night} nights."
    soon = left < SOON * a_night
    return [Finding("warn" if soon else "ok", "evaluation pool", said, "Add new items." if soon else "")]


def _of_all_machines(config: Config) -> list[Finding]:
    """Where machines share a ledger: whether they share the suite, and whether the last night asked it."""
    if dialect(config.path(config.ledger_url), "ledger_url") == SQLITE:
        return []
    found, place = [], config.path(config.evaluate.suite)
    if not is_shared(place):
        said = f"The evaluation suite {place} is a file of this machine only."
        found.append(Finding("warn", "evaluation suite", said, EACH_FOR_ITSELF))
    try:
        asked = [
            decision_facts(one.facts).suite_digest for one in open_ledger(config, wait_s=5.0).decisions()
        ]
    except NightshiftError:  # the finding about the ledger's database tells it
        return found
    last = next(filter(None, reversed(asked)), None)
    if last and last != (here := suite_digest(config)):
        said = f"The last night asked another suite ({last[:8]}) than the one at {place} ({here[:8]})."
        remedy = "If nobody changed it, this machine has an old copy or another profile."
        found.append(Finding("warn", "evaluation suite", said, remedy))
    return found


def _parity(rendering: Rendering, item: Item) -> Finding:
    """Whether a training example is the prompt that is asked, then an answer that the model can give."""
    example = rendering.example(item["messages"], item["answer"])
    asked = rendering.prompt(item["messages"]).ids
    (path,) = rendering.paths([item["answer"]])
    if example.prompt_ids != asked or tuple(example.answer_ids[: len(path)]) != path:
        said = "What is trained on differs from what is asked."
        return Finding("fail", "training example", said, "Report this as a bug, with the base model's name.")
    return Finding(
        "ok", "training example", "It is the prompt that is asked, token by token, then the answer."
    )
