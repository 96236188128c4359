"""Completion of commands and options in a shell: `nightshift completion bash`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from pipelines.core.errors import MachineError

ABOUT = """Print the script that completes nightshift's commands and options.

  bash   eval "$(nightshift completion bash)"                        in ~/.bashrc
  zsh    eval "$(nightshift completion zsh)"                         in ~/.zshrc, after compinit
  fish   nightshift completion fish | source                         in ~/.config/fish/config.fish
"""


def add(commands: Any) -> None:
    """Add the command. It needs no configuration."""
    text = "print a completion script for your shell"
    command = commands.add_parser(
        "completion", help=text, description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("shell", choices=("bash", "zsh", "fish"))
    command.set_defaults(run=_run)


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and exit, where it is the shell that asks."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def _run(args: argparse.Namespace, _config: None) -> int:
    try:
        import argcomplete
    except ImportError as error:
        raise MachineError(
            "Completion needs the package argcomplete, which is not installed.",
            "Install it beside Nightshift: pip install argcomplete.",
        ) from error
    print(argcomplete.shellcode(["nightshift"], shell=args.shell))
    return 0
