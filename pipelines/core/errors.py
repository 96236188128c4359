"""Nightshift's errors: one sentence says what is wrong, with the value found, and one what to do."""

from __future__ import annotations


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
