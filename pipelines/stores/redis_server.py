"""How a Redis is reached, and what is said when it cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError

from pipelines.core.errors import ConfigError, InputError, NightshiftError, UnavailableError

REFUSALS = (AuthenticationError, AuthorizationError, NoPermissionError)


def login(password_file: str, setting: str) -> dict[str, Any]:
    """What a client takes besides the address: the password in the file, if one is named.

    `setting` is where the file's name stands. Raises ConfigError for a file that cannot be read.
    """
    if not password_file:
        return {}
    try:
        password = Path(password_file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"The file {password_file}, which {setting} names, cannot be read: {reason}.",
            "Write Redis's password into it, or set it to an empty text for a Redis without one.",
        ) from None
    return {"password": password} if password else {}


def redis_fault(
    error: RedisError | OSError, url: str, setting: str, password_setting: str
) -> NightshiftError:
    """The error that a person can act on. `setting` and `password_setting` are what they may correct."""
    if isinstance(error, REFUSALS) or "NOAUTH" in str(error):
        return InputError(
            f"Redis at {url} refuses the login ({error}).",
            f"Correct the password in the file that {password_setting} names.",
        )
    return UnavailableError(
        f"Redis at {url} does not answer ({type(error).__name__}: {str(error) or 'it takes too long'}).",
        f"Start it, or correct {setting}.",
    )
