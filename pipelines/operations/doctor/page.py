"""The findings as a table for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.operations.doctor.finding import Finding
from pipelines.operations.doctor.lengths import Lengths

STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def printed(findings: Sequence[Finding], lengths: Sequence[Lengths], as_json: bool) -> str:
    if as_json:
        every = {"findings": [*map(asdict, findings)], "lengths": [*map(asdict, lengths)]}
        return json.dumps(every, indent=1, ensure_ascii=False) + "\n"
    screen = Console()
    console = Console(file=StringIO(), force_terminal=screen.is_terminal, width=max(screen.width, 80))
    console.print(_findings(findings))
    if lengths:
        console.print(_lengths(lengths))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table("", "about", "found", box=None, pad_edge=False)
    for one in findings:
        said = f"{one.said} {one.remedy}".strip()
        table.add_row(f"[{STYLES[one.level]}]{one.level}[/]", one.about, escape(said))
    return table


def _lengths(lengths: Sequence[Lengths]) -> Table:
    table = Table("tokens", box=None, pad_edge=False)
    for name in ("least", "median", "most", "limit"):
        table.add_column(name, justify="right")
    table.add_column("set by")
    for row in lengths:
        table.add_row(row.what, *(str(n) for n in (row.least, row.median, row.most, row.limit)), row.by)
    return table
