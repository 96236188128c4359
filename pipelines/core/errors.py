"""Nightshift's errors. Each message says what was expected, what was found and what to do next."""

from __future__ import annotations


class NightshiftError(Exception):
    """Base of all errors that a person can act on; anything else is a bug."""

    def __init__(self, expected: str, found: str, next_step: str) -> None:
        super().__init__(f"Expected {expected}. Found {found}. {next_step}")
        self.expected, self.found, self.next_step = expected, found, next_step


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
