"""What the commands share: how they are added, their common options, and the `--result` file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from pydantic import BaseModel

from pipelines.core.config import Config
from pipelines.core.config.options import shared_options

Run = Callable[[argparse.Namespace, Config], int]  # returns the exit status


def add_command(commands: Any, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    """A command with `--config`, `--home` and `--set`; `text` is its one line in the help."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, parents=[shared_options()], help=text, description=f"{text[:1].upper()}{text[1:]}."
    )
    command.set_defaults(run=run)
    return command


def add_date(command: argparse.ArgumentParser, option: str, **more: Any) -> None:
    """An option that takes a day."""
    command.add_argument(option, type=date.fromisoformat, metavar="YYYY-MM-DD", **more)


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_result(command: argparse.ArgumentParser) -> None:
    command.add_argument("--result", metavar="PATH", help="write the result there, as JSON: a file or a URI")


def write_result(args: argparse.Namespace, result: BaseModel) -> None:
    """Write the file that `--result` names, if it was given. A folder that is missing is made."""
    if args.result:
        from pipelines.stores.blobs import Folder

        folder, _, name = str(args.result).rpartition("/")
        Folder(folder or ".", "--result").write_bytes(name, result.model_dump_json().encode())


def show(headline: str, details: Iterable[str]) -> None:
    """Print a line, and indented lines below it."""
    print(headline, flush=True)
    for detail in details:
        print(f"          {detail}", flush=True)
