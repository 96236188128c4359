"""A scorer that a person wrote: `python:package.module:function` names `function(answer, reference)`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from pipelines.core.errors import ConfigError, bug_sentences
from pipelines.core.files import sha256_of
from pipelines.core.scorers import OWN


def own_rule(name: str) -> Callable[[str, str], float]:
    """The function, checked at each call. Raises ConfigError where there is no such function.

    The rule raises ConfigError where the function raises, or returns what is no number in [0, 1].
    """
    function = _function(name)

    def rule(answer: str, reference: str) -> float:
        try:
            found = function(answer, reference)
        except Exception as error:  # a person's function may raise anything
            raise ConfigError(f"The scorer {name} raised {bug_sentences(error)}", "Correct it.") from error
        return _checked(name, found)

    return rule


def own_digests(names: Sequence[str]) -> dict[str, str]:
    """sha256 of the file that each own function stands in, because other code means other scores."""
    files = {name: getattr(_module(name), "__file__", None) for name in names if name.startswith(OWN)}
    return {name: sha256_of(Path(file)) if file else name for name, file in files.items()}


def _function(name: str) -> Callable[[str, str], Any]:
    module_name, function_name = _parts(name)
    found = getattr(_module(name), function_name, None)
    if not callable(found):
        raise ConfigError(
            f"The scorer {name} does not exist: {module_name} has no function {function_name}.",
            "Name a function that takes an answer and a reference.",
        )
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(_parts(name)[0])
    except Exception as error:  # importing runs a person's code
        raise ConfigError(
            f"The scorer {name} cannot be imported: {type(error).__name__}: {error}.",
            "Install its package into the environment that runs the steps, or add its folder to PYTHONPATH.",
        ) from error


def _parts(name: str) -> tuple[str, str]:
    module, colon, function = name.removeprefix(OWN).partition(":")
    if not (module and colon and function):
        raise ConfigError(f"The scorer {name} names no function.", "Write python:package.module:function.")
    return module, function


def _checked(name: str, found: Any) -> float:
    try:
        value = float(found)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        shown = f"{found!r}" if isinstance(found, int | float) else f"a {type(found).__name__}"
        raise ConfigError(f"The scorer {name} returned {shown}.", "It has to return a number from 0 to 1.")
    return value
