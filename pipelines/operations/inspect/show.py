"""An inspection for people: tables and colours in a terminal, plain lines in a pipe."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.operations.inspect.finding import FeedbackLook, Inspection, LookedAt

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
    if scale := found.settings.get("rating"):
        words = ", ".join(f"{key} = {value}" for key, value in scale.items() if value != [])
        console.print(f"[bold]Rating scale[/] {escape(words)}")
    for hint in found.hints:
        console.print(f"[yellow]Note[/] {escape(hint)}")


def show_profile(
    text: str, where: Path | None, log: str, night: date, console: Console | None = None
) -> None:
    """The profile, or where it was written, and what to do next."""
    console = console or _console()
    if where is None:
        console.print("\n[bold]Profile to start from[/] (write it with --write FILE)")
        console.print(text.rstrip(), highlight=False, markup=False, soft_wrap=True)
        return
    console.print(f"\n[bold green]Wrote[/] {escape(str(where))}. Look at its lines that say CHANGE, then:")
    for command in (
        f"export NIGHTSHIFT_CONFIG={where.absolute()} NIGHTSHIFT_HOME={Path.cwd() / '.nightshift-mine'}",
        f"nightshift suite propose {log}",
        "nightshift doctor",
        f'make nightly ARGS="--night {night}"',
    ):
        console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _table(console: Console, *titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        right = title in ("filled", "rows")
        table.add_column(
            title, justify="right" if right else "left", no_wrap=title != "example", overflow="ellipsis"
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
    console.print(f"[bold]{title}[/] {escape(looked_at.file)}")
    console.print(f"    {', '.join(parts)}; {rows}, {_size(looked_at.size_bytes)}")
    if not looked_at.is_whole:
        console.print(f"    [yellow]Only the first {looked_at.rows:,} rows were looked at.[/]")


def _columns(console: Console, looked_at: LookedAt) -> None:
    table = _table(console, "column", "kind", "filled", "example")
    for column in looked_at.columns[:MOST_COLUMNS]:
        table.add_row(escape(column.name), column.kind, _share(column.filled), escape(column.example))
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
        table.add_row(column.ours, escape(column.theirs) or "-", _share(column.filled), default, style=style)
    console.print(table)


def _rows(console: Console, found: Inspection) -> None:
    rows = found.looked_at.rows
    colour = "green" if found.kept >= 0.8 * rows else "yellow" if found.kept else "red"
    console.print(
        f"\n[bold]Rows[/] [{colour}]{found.kept:,} of {rows:,} would be kept[/] in the night {found.night}"
    )
    if found.first:
        zone = "" if found.has_zone else "; the times name no zone, so ingest.timezone says theirs"
        console.print(f"    from {found.first} to {found.last}{zone}")
    table = _table(console, "rows", "not kept because", "example")
    for one in found.refused:
        table.add_row(f"{one.rows:,}", escape(one.reason), escape(one.example))
    if found.copies:
        table.add_row(f"{found.copies:,}", "the same request again: the newest feedback stands", "")
    if found.opted_out:
        table.add_row(f"{found.opted_out:,}", "opted out", "")
    if table.row_count:
        console.print(table)


def _answers(console: Console, found: Inspection) -> None:
    console.print(f"\n[bold]Feedback[/] {_ratings(found.ratings)}")
    if not found.labels:
        console.print(
            "[bold]Answers[/] are free text. [yellow]Nights judge answers from a list only[/] (task.labels)."
        )
        return
    most = list(found.labels.items())[:MOST_LABELS]
    shown = ", ".join(f"{escape(label)} ({count})" for label, count in most)
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
        console.print(f"    {rows:,} rows are refused: {escape(reason)}")


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
