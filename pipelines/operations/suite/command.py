"""`nightshift suite propose`: write the items, keep them out of training, and show what was drawn."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

from rich.console import Console
from rich.table import Table

from pipelines.core.config import Config
from pipelines.core.errors import InputError
from pipelines.data.held_back import hold_back
from pipelines.evaluation.suite import line_of
from pipelines.evaluation.suite_place import suite_exists, write_suite
from pipelines.operations.suite.propose import Proposal, propose
from pipelines.operations.suite.rows import rows_of_files, rows_of_lake
from pipelines.policy.night.proposal import Share
from pipelines.stores import has_ledger, open_ledger
from pipelines.stores.suites.proposals import add_proposals

SHOWN = 8  # names of a group


def propose_suite(
    config: Config, source: str | None, count: int, to: str | None, as_json: bool, pool: bool = False
) -> int:
    """Raises InputError where there is no log, or no row with a known answer.

    Where there is a suite already, the items wait for `nightshift suite renew` until a person has accepted
    them. `to` and `pool`, with which the items go to `evaluate.pool`, need a place without a file.
    """
    if count < 1:
        raise InputError(f"--items is {count}.", "Ask for 1 or more.")
    if pool and not config.evaluate.pool:
        raise InputError(
            "evaluate.pool names no file.",
            'Name one in the profile, such as evaluate.pool = "{home}/pool.jsonl".',
        )
    target = to or config.path(config.evaluate.pool if pool else config.evaluate.suite)
    is_there, is_reviewed = suite_exists(target), not (to or pool)
    if is_there and not is_reviewed:
        raise InputError(
            f"There is a suite at {target} already.",
            "Move it away, or write the new one elsewhere with --to.",
        )
    today = datetime.now(UTC).date()
    rows = rows_of_files(config, source, today) if source else rows_of_lake(config, today)
    found = propose(config, rows, count, _trained_until(config))
    # In this order: an item that is on disk is never trained on, whatever happens in between.
    hold_back(config, found.keys, target, [item["messages"] for item in found.items])
    if is_reviewed:
        add_proposals(config, found.items, source or "the lake")
    if not is_there:
        write_suite(target, "".join(map(line_of, found.items)).encode())
    if as_json:
        summary = _summary(found, target) | {"written": not is_there}
        print(json.dumps(summary, indent=1, ensure_ascii=False))
    else:
        _show(found, count)
        _say_where(Console(highlight=False), target, is_there, is_reviewed)
    return 0


def _trained_until(config: Config) -> date | None:
    """The last day whose rows a training may have seen."""
    if not has_ledger(config):
        return None
    nights = [decision.night for decision in open_ledger(config).decisions() if "train" in decision.evidence]
    return max(nights) + timedelta(days=1) if nights else None


def _summary(found: Proposal, target: str) -> dict[str, object]:
    return {
        "suite": target,
        "items": len(found.items),
        "reviewed": 0,
        "rows": found.counts,
        "shares": {group: [share._asdict() for share in shares] for group, shares in found.shares.items()},
        "redacted": found.redacted,
    }


def _show(found: Proposal, asked: int) -> None:
    console = Console(highlight=False)
    items = len(found.items)
    console.print(f"[bold]{items} evaluation items[/bold] from {found.counts['read']} rows of the log\n")
    console.print(_left_out(found.counts))
    for group, shares in found.shares.items():
        console.print(_shares(group, shares))
    if found.redacted:
        replaced = ", ".join(f"{number} {kind}" for kind, number in found.redacted.items())
        console.print(f"Personal data replaced: {replaced}.")
    if items < asked:
        console.print(f"[yellow]{asked} were asked for; no more rows have a known answer.[/]")


def _say_where(console: Console, target: str, is_there: bool, is_reviewed: bool) -> None:
    if is_there:
        console.print(f"The suite {target} stays as it is. The items wait: training never sees them.")
    else:
        console.print(f"Written to {target}. Training never sees these items, also if the file changes.")
    if not is_reviewed:
        console.print("Nobody has reviewed them: read each, correct its answer, and remove what is wrong.")
        return
    console.print(
        "Nobody has reviewed them: accept, correct or drop each on Airflow's page *Evaluation suite*, or "
        "with `nightshift suite review`. Then `nightshift suite renew` brings the suite up to date."
    )


def _left_out(counts: dict[str, int]) -> Table:
    table = Table("rows", "", box=None, show_header=False, padding=(0, 2, 0, 0))
    for reason, rows in counts.items():
        if rows and reason != "read":
            table.add_row(f"{rows:>6}", "became items" if reason == "kept" else reason.replace("_", " "))
    return table


def _shares(group: str, shares: list[Share]) -> Table:
    table = Table(title=f"\nBy {group}", title_justify="left", title_style="bold")
    table.add_column(group)
    for name in ("rows", "share", "items", "share"):
        table.add_column(name, justify="right")
    rows, items = sum(share.rows for share in shares), sum(share.items for share in shares)
    for share in _shortened(shares):
        table.add_row(
            share.name,
            f"{share.rows}",
            f"{share.rows / rows:.1%}",
            f"{share.items}",
            f"{share.items / items:.1%}",
        )
    return table


def _shortened(shares: list[Share]) -> list[Share]:
    """The most frequent names, and the others as one."""
    rest = shares[SHOWN:]
    if not rest:
        return shares
    others = Share(f"{len(rest)} others", sum(s.rows for s in rest), sum(s.items for s in rest))
    return [*shares[:SHOWN], others]
