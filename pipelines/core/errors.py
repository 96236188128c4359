"""Nightshift's errors: one sentence says what is wrong, with the value found, and one what to do."""

from __future__ import annotations

import traceback
from pathlib import PurePath

STOPPED = 75  # exit status of a command that was Interrupted: EX_TEMPFAIL of sysexits.h


class NightshiftError(Exception):
    """Base of all errors that a person can act on; anything else is a bug."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
        self.problem, self.remedy = problem, remedy


class ConfigError(NightshiftError):
    """The configuration file or an override cannot be used."""


class InputError(NightshiftError):
    """Something a step reads is missing or broken."""


class IntegrityError(NightshiftError):
    """Stored bytes no longer match their recorded digest, signature or chain."""


class TrainingError(NightshiftError):
    """Training ended without a usable adapter."""


class MachineError(NightshiftError):
    """The machine lacks something: memory, disk, a tool, a free port."""


class UnavailableError(NightshiftError):
    """A server that state lies on does not answer. The same command may succeed later."""


class Interrupted(NightshiftError):
    """The process was asked to stop (SIGTERM), and did. The same command goes on from where it stood."""


class LeaseLost(NightshiftError):
    """Another process, perhaps on another machine, has taken over what this one was doing."""


def bug_sentences(error: BaseException) -> str:
    """What and where a bug is. Its own message may quote what a user wrote, and this goes where it stays."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    place = f" in {PurePath(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{place}. This is a bug: the log has its message and traceback."
