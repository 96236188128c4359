"""One thing that was looked at, and what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipelines.core.errors import NightshiftError

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """`said`: one sentence of what is. `remedy`: one of what to do; empty where there is nothing."""

    level: Level
    about: str
    said: str
    remedy: str = ""


def failure(about: str, error: NightshiftError) -> Finding:
    return Finding("fail", about, error.problem, error.remedy)


def failed(findings: Iterable[Finding]) -> bool:
    return any(finding.level == "fail" for finding in findings)
