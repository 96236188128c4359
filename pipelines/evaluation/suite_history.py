"""What is new in tonight's suite, by the suites that earlier nights asked, of which copies are kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from pipelines.core.config import Config
from pipelines.core.contract import digest_of
from pipelines.core.facts.evaluate import SuiteFacts
from pipelines.core.facts.record import decision_facts
from pipelines.evaluation.suite import Item, digest_of_items
from pipelines.policy.night.renewal import new_and_changed, shares_a_question
from pipelines.stores import has_ledger, open_ledger
from pipelines.stores.suites.asked import answers_by_key, keep_suite, kept_suite

Asked = list[tuple[date, str]]  # night and digest of the suite that a run asked, in their order


def asked_before(config: Config, run_id: str) -> Asked:
    """The suites that runs asked which were decided before this one."""
    if not has_ledger(config):
        return []
    decided = open_ledger(config).decided_before(run_id)
    facts = ((one.night, decision_facts(one.facts).suite_digest) for one in decided)
    return [(night, digest) for night, digest in facts if digest]


def history_digest(config: Config, run_id: str) -> str:
    """Changes when an earlier run asked another suite: what is new tonight depends on it."""
    asked = asked_before(config, run_id)
    return digest_of([*sorted({digest for _, digest in asked}), *(map(str, asked[-1]) if asked else ())])


def suite_facts(config: Config, run_id: str, items: Sequence[Item]) -> SuiteFacts:
    """Keeps tonight's suite, and compares it with the earlier ones."""
    digest, tonight = digest_of_items(items), answers_by_key(items)
    keep_suite(config, digest, items)
    asked = asked_before(config, run_id)
    since, before = asked[-1] if asked else (None, None)
    kin, new, changed = [], None, None
    for earlier in sorted({one for _, one in asked}):  # one at a time: a suite may have a million items
        then = kept_suite(config, earlier)
        if then is not None and shares_a_question(tonight, then):
            kin.append(earlier)
        if then is not None and earlier == before:
            new, changed = new_and_changed(tonight, then)
    return SuiteFacts(
        items=len(items),
        unreviewed=sum(is_unreviewed(item) for item in items),
        since=since,
        before=before,
        new=new,
        changed=changed,
        kin=tuple(kin),
    )


def is_unreviewed(item: Item) -> bool:
    """Whether an item is marked as one that no person has reviewed; an item without a mark is a person's."""
    mark: Any = item.get("reviewed", True)
    return mark is False or str(mark).strip().lower() == "false"
