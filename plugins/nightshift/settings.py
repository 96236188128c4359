"""Where things are. Only this file reads the environment; others get the object."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.config import Config, load_config

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """`python` is the work environment's interpreter; `home` holds all state."""

    home: Path
    config_path: Path
    python: Path
    config: Config

    @classmethod
    def from_environment(cls) -> Settings:
        """NIGHTSHIFT_HOME, NIGHTSHIFT_CONFIG, NIGHTSHIFT_PYTHON. Raises ConfigError."""
        home = Path(os.environ.get("NIGHTSHIFT_HOME", PROJECT / ".nightshift")).absolute()
        config_path = Path(os.environ.get("NIGHTSHIFT_CONFIG", PROJECT / "config" / "demo.toml")).absolute()
        # Not resolved: an environment's interpreter is a link, and knows its environment by the link's place.
        python = Path(os.environ.get("NIGHTSHIFT_PYTHON", PROJECT / ".venv" / "bin" / "python")).absolute()
        return cls(home, config_path, python, load_config(config_path, home))
