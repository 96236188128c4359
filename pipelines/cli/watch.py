"""The hourly looks: `nightshift watch` at live traffic, `nightshift features-sync` at the feature store."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.common import add_command, add_result, show, write_result
from pipelines.core.config import Config
from pipelines.core.results import progress_line


def add(commands: Any) -> None:
    """Add the commands."""
    command = add_command(
        commands, "watch", "check live traffic once for drift, errors and slow answers", _run
    )
    command.add_argument("--run-id", default="", help="record it once under this name (default: the time)")
    add_result(command)
    sync = "fill the online feature store; compare it with the offline files"
    add_result(add_command(commands, "features-sync", sync, _sync_features))


def _sync_features(args: argparse.Namespace, config: Config) -> int:
    from pipelines.observability.tracing import command_span
    from pipelines.operations.feature_sync import NAME, feature_sync

    with command_span(NAME) as span:
        result = feature_sync(config)
        span.set_attributes({"nightshift.verdict": result.verdict, "nightshift.seconds": result.seconds})
    show(progress_line(result), result.reasons)
    write_result(args, result)
    return 0


def _run(args: argparse.Namespace, config: Config) -> int:
    from pipelines.observability.tracing import command_span
    from pipelines.operations.watch.look import watch

    with command_span("watch") as span:
        result = watch(config, args.run_id)
        span.set_attributes({"nightshift.verdict": result.verdict, "nightshift.seconds": result.seconds})
    show(progress_line(result), [*result.reasons, result.manifest_uri])
    write_result(args, result)
    return 0
