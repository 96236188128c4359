"""`nightshift doctor`: would a night work? It looks in seconds at what would otherwise fail in an hour."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.common import add_command, add_json
from pipelines.core.config import Config


def add(commands: Any) -> None:
    """Add the command."""
    command = add_command(
        commands, "doctor", "check base model, template, suite, lengths and machine before a night", _run
    )
    add_json(command)


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.doctor import examine, printed

    findings, lengths = examine(config)
    print(printed(findings, lengths, as_json=args.json), end="", flush=True)
    return int(any(finding.level == "fail" for finding in findings))
