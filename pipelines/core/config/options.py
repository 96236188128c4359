"""Command-line options that all commands share: `--config`, `--home` and `--set`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pipelines.core.config.loading import load_config, parse_override
from pipelines.core.config.profile import Config


def shared_options() -> argparse.ArgumentParser:
    """A parent parser with the options that choose the configuration.

    NIGHTSHIFT_CONFIG and NIGHTSHIFT_HOME replace the defaults of `--config` and `--home`.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--config",
        default=os.environ.get("NIGHTSHIFT_CONFIG", "config/demo.toml"),
        metavar="FILE",
        help="the profile, a TOML file (default: %(default)s)",
    )
    parser.add_argument(
        "--home",
        default=os.environ.get("NIGHTSHIFT_HOME", ".nightshift"),
        metavar="DIRECTORY",
        help="where Nightshift keeps its state (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one setting of the profile, e.g. train.epochs=2; may be repeated",
    )
    return parser


def load(args: argparse.Namespace) -> Config:
    """The configuration that the parsed shared options select. Raises ConfigError."""
    overrides = dict(parse_override(text) for text in args.set)
    return load_config(args.config, Path(args.home).resolve(), overrides)
