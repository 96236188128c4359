"""The evaluation items that wait for a person, and the reviews so far, as the page shows them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nightshift.page.links import ago, shown_time
from pipelines.core.config.model import Task
from pipelines.core.conversations import last_question, normalise, normalise_messages
from pipelines.stores.suites.proposals import Proposal
from pipelines.stores.suites.reviews import History, standing, unreviewed

MOST_WAITING, MOST_REVIEWED = 50, 50
SHOWN = 90  # characters of a question that was reviewed
SLICES = ("subject", "tenant", "locale", "channel")


def suite_model(
    proposed: Mapping[str, Proposal], said: History, task: Task, now: datetime, root: str = ""
) -> dict[str, Any]:
    """Texts, numbers, lists and dictionaries only. The oldest items that wait come first."""
    waiting = unreviewed(proposed, said)
    counted = [(last, one) for one in proposed.values() if (last := standing(said.get(one.digest, ())))]
    newest = sorted(counted, key=lambda pair: pair[0].at, reverse=True)
    return {
        "now": shown_time(now.isoformat()),
        "root": root,
        "labels": list(task.labels),
        "kind": task.kind,
        "waiting": len(waiting),
        "reviewed": len(counted),
        "items": [_item(one, len(said.get(one.digest, ())), task, now) for one in waiting[:MOST_WAITING]],
        "reviews": [
            {
                "digest": one.digest,
                "seen": last.number,
                "verdict": last.verdict,
                "actor": last.actor,
                "at": shown_time(last.at),
                "question": _short(last_question(one.item["messages"])),
            }
            for last, one in newest[:MOST_REVIEWED]
        ],
    }


def _item(one: Proposal, seen: int, task: Task, now: datetime) -> dict[str, Any]:
    turns = normalise_messages(one.item["messages"])
    own = turns[0]["role"] == "system" and normalise(turns[0]["content"]) == normalise(task.system_prompt)
    names = {name: str(one.item.get(name) or "all") for name in SLICES}
    return {
        "digest": one.digest,
        "seen": seen,
        "turns": [{"role": turn["role"], "text": turn["content"]} for turn in turns[own:]],
        "answer": one.item["answer"],
        "about": [f"{name} {value}" for name, value in names.items() if value != "all"],
        "origin": one.item.get("origin") or "an answer",
        "source": one.source,
        "at": shown_time(one.at),
        "ago": ago(one.at, now),
    }


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= SHOWN else f"{words[: SHOWN - 1]}…"
