"""An inspection for people: tables and colours in a terminal, plain lines in a pipe."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.operations.inspect.finding import FeedbackLook, Inspection, LookedAt
from pipelines.operations.inspect.printable import printable

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
PLAIN_WIDTH = 160
MOST_COLUMNS = 40
MOST_LABELS = 12


def show(found: Inspection, console: Console | None = None) -> None:
    """Print everything but the profile."""
    console = console or _console()
    _file(console, found.looked_at, "Log")
    _columns(console, found.looked_at)
    _mapping(console, found)
    _rows(console, found)
    _answers(console, found)
    if found.feedback:
        _feedback(console, found.feedback)
    for table, title in (("rating", "Rating scale"), ("feedback_rating", "Rating scale of the feedback")):
        if scale := found.settings.get(table):
            words = ", ".join(f"{key} = {value}" for key, value in scale.items() if value != [])
            console.print(f"[bold]{title}[/] {_safe(words)}")
    for hint in found.hints:
        console.print(f"[yellow]Note[/] {_safe(hint)}")


def show_profile(found: Inspection, where: Path | None, console: Console | None = None) -> None:
    """The profile, or where it was written, and what to do next."""
    console = console or _console()
    if where is None:
        console.print("\n[bold]Profile to start from[/] (write it with --write FILE)")
        console.print(found.profile.rstrip(), highlight=False, markup=False, soft_wrap=True)
        return
    console.print(f"\n[bold green]Wrote[/] {_safe(str(where))}. Look at its lines that say CHANGE, then:")
    for command in (
        f"export NIGHTSHIFT_CONFIG={_quoted(where.absolute())} "
        f"NIGHTSHIFT_HOME={_quoted(Path.cwd() / '.nightshift-mine')}",
        f"nightshift suite propose {_quoted(found.looked_at.file)}",
        "nightshift doctor",
        f'make nightly ARGS="--night {found.night}"',
    ):
        console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)


def _safe(text: str) -> str:
    """A text of the log as it is, without what a terminal or its markup would obey."""
    return escape(printable(text))


def _quoted(path: Path | str) -> str:
    return printable(shlex.quote(str(path)))


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _table(console: Console, *titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        right = title in ("filled", "rows")
        table.add_column(
            title,
            justify="right" if right else "left",
            no_wrap=title != "example",
            overflow="ellipsis",
            min_width=15 if title == "ours" else len(title),
        )
    return table


def _file(console: Console, looked_at: LookedAt, title: str) -> None:
    parts = [looked_at.kind]
    if looked_at.separator:
        parts.append(f"separated by {SEPARATORS[looked_at.separator]}")
    if looked_at.encoding and looked_at.encoding != "utf-8":
        parts.append(looked_at.encoding)
    if looked_at.packing:
        parts.append(f"packed with {looked_at.packing}")
    rows = f"{looked_at.rows:,} rows" if looked_at.is_whole else f"more than {looked_at.rows:,} rows"
    console.print(f"[bold]{title}[/] {_safe(looked_at.file)}")
    console.print(f"    {', '.join(parts)}; {rows}, {_size(looked_at.size_bytes)}")
    if not looked_at.is_whole:
        console.print(f"    [yellow]Only the first {looked_at.rows:,} rows were looked at.[/]")


def _columns(console: Console, looked_at: LookedAt) -> None:
    table = _table(console, "column", "kind", "filled", "example")
    for column in looked_at.columns[:MOST_COLUMNS]:
        table.add_row(_safe(column.name), column.kind, _share(column.filled), _safe(column.example))
    console.print()
    console.print(table)
    if len(looked_at.columns) > MOST_COLUMNS:
        console.print(f"... and {len(looked_at.columns) - MOST_COLUMNS} more columns")


def _mapping(console: Console, found: Inspection) -> None:
    form = "our own names" if found.format == "nightshift" else f'format = "{found.format}"'
    console.print(f"\n[bold]How it would be read[/] ({form})")
    table = _table(console, "ours", "from", "filled", "where it has no value")
    for column in found.mapping:
        default = "[red]the row is refused[/]" if not column.default else column.default
        style = "" if column.theirs else "dim"
        table.add_row(column.ours, _safe(column.theirs) or "-", _share(column.filled), default, style=style)
    console.print(table)


def _rows(console: Console, found: Inspection) -> None:
    rows = found.looked_at.rows
    colour = "green" if found.kept >= 0.8 * rows else "yellow" if found.kept else "red"
    invalid = sum(one.rows for one in found.invalid)
    after = f"; {max(0, found.kept - invalid):,} of these pass validate's rules for rows" if invalid else ""
    console.print(
        f"\n[bold]Rows[/] [{colour}]{found.kept:,} of {rows:,} would be kept[/] in the night "
        f"{found.night}{after}"
    )
    if found.first:
        zone = "" if found.has_zone else "; the times name no zone, so ingest.timezone says theirs"
        console.print(f"    from {found.first} to {found.last}{zone}")
    for problem in found.held:
        console.print(f"    [red]The night would be held:[/] {_safe(problem)}")
    table = _table(console, "rows", "not kept because", "example")
    for one in found.refused:
        table.add_row(f"{one.rows:,}", _safe(one.reason), _safe(one.example))
    if found.copies:
        table.add_row(f"{found.copies:,}", "the same request again: the newest feedback stands", "")
    if found.clashes:
        table.add_row(f"{found.clashes:,}", "the id of another row, with another content", "")
    if found.opted_out:
        table.add_row(f"{found.opted_out:,}", "opted out", "")
    for one in found.invalid:
        table.add_row(
            f"{one.rows:,}", f"kept, then refused by validate: {_safe(one.reason)}", _safe(one.example)
        )
    if table.row_count:
        console.print(table)


def _answers(console: Console, found: Inspection) -> None:
    console.print(f"\n[bold]Feedback[/] {_ratings(found.ratings)}")
    if not found.labels:
        console.print('[bold]Answers[/] are free text: task.kind = "generate".')
        return
    most = list(found.labels.items())[:MOST_LABELS]
    shown = ", ".join(f"{_safe(label)} ({count})" for label, count in most)
    more = f" and {len(found.labels) - MOST_LABELS} more" if len(found.labels) > MOST_LABELS else ""
    console.print(f"[bold]Answers[/] look like {len(found.labels)} labels: {shown}{more}")


def _feedback(console: Console, look: FeedbackLook) -> None:
    console.print()
    _file(console, look.looked_at, "Separate feedback")
    colour = "green" if look.matched else "red"
    console.print(
        f"    [{colour}]{look.matched:,} of the {look.requests:,} requests that it names are in the log[/]; "
        f"{_ratings(look.ratings)}"
    )
    for reason, rows in look.refused.items():
        console.print(f"    {rows:,} rows are refused: {_safe(reason)}")


def _ratings(ratings: dict[str, int]) -> str:
    plural = {"like": "likes", "dislike": "dislikes", "neither": "neither", "correction": "corrections"}
    told = [f"{count:,} {plural[name] if count != 1 else name}" for name, count in ratings.items() if count]
    return ", ".join(told) or "none"


def _share(share: float) -> str:
    return f"{share:.0%}" if share in (0, 1) or 0.01 <= share <= 0.99 else "<1%" if share < 0.01 else ">99%"


def _size(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024  # type: ignore[assignment]
    return f"{size:.1f} GiB"
