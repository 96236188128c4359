"""The configuration of a test: the tiny profile with what the test changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.core.config import Config, load_config

TINY = Path(__file__).parent / "tiny.toml"


def make_config(home: Path, section: str, **settings: Any) -> Config:
    """The tiny profile. A key is of `section`, unless it is dotted (`**{"train.epochs": 1}`)."""
    dotted = {key if "." in key else f"{section}.{key}": value for key, value in settings.items()}
    return load_config(TINY, home, dotted)
