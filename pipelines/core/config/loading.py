"""Read a profile and overrides; say in words what is wrong with them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipelines.core.config.profile import Config
from pipelines.core.errors import ConfigError

NOT_IN_A_HOME = "%?*["


def load_config(path: str | Path, home: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a profile. `overrides` are dotted keys (`train.epochs`) that win over the file.

    Raises ConfigError for a missing file, broken TOML, an unknown key, a value out of range, or a home whose
    path has a sign that databases read as part of an address or a pattern.
    """
    if bad := next((sign for sign in NOT_IN_A_HOME if sign in str(home)), None):
        raise ConfigError(
            f"The home {home} has {bad} in its path, which databases do not take for a name.",
            "Choose another folder with --home or NIGHTSHIFT_HOME.",
        )
    data = _read(path)
    for dotted, value in (overrides or {}).items():
        section, _, key = dotted.rpartition(".")
        table = data.setdefault(section, {}) if section else data
        if not isinstance(table, dict):
            raise ConfigError(
                f"{dotted} cannot be set: {section} is {table!r} in {path}, and no table.",
                f"Write its settings under [{section}].",
            )
        table[key] = value
    try:
        config = Config.model_validate({**data, "home": str(home)})
    except ValidationError as error:
        raise refused(path, error) from error
    if "labels" in data.get("task", {}) and config.task.kind == "choose" and not config.task.labels:
        raise ConfigError(
            f"Settings in {path} cannot be used: task.labels is empty.",
            'List the allowed answers, or set task.kind = "generate" for free text.',
        )
    return config


def _read(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}.", "Correct that line.") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = str(getattr(error, "strerror", None) or error)
        raise ConfigError(
            f"The configuration file {path} cannot be read: {reason}.",
            "Pass another with --config or NIGHTSHIFT_CONFIG, such as config/demo.toml.",
        ) from None


def refused(path: str | Path, error: ValidationError) -> ConfigError:
    """Every setting that is wrong, in words."""
    wrong = "; ".join(_described(one) for one in error.errors())
    return ConfigError(
        f"Settings in {path} cannot be used: {wrong}.",
        "The folder pipelines/core/config lists every setting.",
    )


def _described(error: ErrorDetails) -> str:
    setting = ".".join(map(str, error["loc"]))
    if not setting:  # it is about more than one
        return error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{setting}: no such setting"
    return f"{setting}: {error['msg'].removeprefix('Value error, ')}"


def parse_override(text: str) -> tuple[str, Any]:
    """`train.epochs=2` -> ("train.epochs", 2); the value is read as TOML, else kept as text."""
    key, separator, raw = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"The override {text!r} sets nothing.", "Write --set SECTION.KEY=VALUE.")
    try:
        return key, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return key, raw
