"""How a command of the work plane runs: what a launcher gets and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow.sdk import Context

FAULT_PREFIX = "fault: "  # begins the line by which a command says why it failed


@dataclass(frozen=True)
class Command:
    """A command of the work plane, and who it runs for.

    `words` are the command's name and options, as after `python -m pipelines`. The launcher adds where the
    home, the configuration and the result lie, because that depends on how it runs the command.
    """

    words: Sequence[str]
    dag_id: str
    run_id: str
    traceparent: str


@dataclass(frozen=True)
class Ended:
    """How a command ended. `started` and `ended` are Unix seconds.

    `status` is its exit status; a negative one is the signal that killed it. `last_line` is the line that
    says why it failed, or the last that it printed. `result` is the JSON document that it wrote, or None.
    `interruptions` are sentences: what took the command away before it went on.
    """

    status: int
    last_line: str
    result: bytes | None
    started: float
    ended: float
    interruptions: Sequence[str] = ()


class Log(Protocol):
    """The part of a logger that a launcher needs; Airflow's own loggers have it too."""

    def info(self, message: str, /, *values: Any) -> Any: ...


class Launcher(Protocol):
    """Runs one command."""

    def run(
        self, command: Command, log: Log, context: Context | None = None, event: dict[str, Any] | None = None
    ) -> Ended:
        """Run the command to its end. What it prints goes to `log` while it runs.

        A launcher may give the task back meanwhile (it raises TaskDeferred); it is then called again with
        what its trigger sent.
        """

    def stop(self) -> None:
        """End the command now, from another thread. Without one, does nothing."""
