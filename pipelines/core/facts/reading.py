"""Facts from a manifest to a model and back. Unknown fields are ignored, so newer manifests stay readable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.core.contract import Manifest
from pipelines.core.errors import IntegrityError


class Part(BaseModel):
    """A piece of a step's facts. Types are strict: a text is no number, and no number is NaN."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", strict=True, allow_inf_nan=False, populate_by_name=True
    )


class Facts(Part):
    """The facts, or the readings, of one step."""

    step: ClassVar[str]


F = TypeVar("F", bound=Facts)
P = TypeVar("P", bound=Part)


def as_json(facts: Part | None) -> dict[str, Any]:
    """The fields that were set, as JSON values; nothing for None."""
    return facts.model_dump(mode="json", by_alias=True, exclude_unset=True) if facts else {}


def facts_of(manifests: Mapping[str, Manifest], model: type[F]) -> F:
    """The facts of the model's step. Raises IntegrityError when they do not fit the model."""
    manifest = manifests[model.step]
    try:
        return parsed(manifest.facts, model)
    except ValidationError as error:
        raise IntegrityError(
            f"The facts of {model.step} in run {manifest.run_id} cannot be read: {in_words(error)}.",
            f"Run {model.step} again with --rerun.",
        ) from error


def parsed(stored: Mapping[str, Any], model: type[P]) -> P:
    """Stored facts as a model. Raises ValidationError."""
    return model.model_validate_json(json.dumps(stored))


def readable_parts(stored: Mapping[str, Any], model: type[F]) -> tuple[F, dict[str, str]]:
    """A model of optional fields, and what is wrong with each field that cannot be read and stays unset."""
    try:
        return parsed(stored, model), {}
    except ValidationError as error:
        names = {str(one["loc"][0]) for one in error.errors()}
        wrong = {name: in_words(error, name) for name in sorted(names)}
    return parsed({name: value for name, value in stored.items() if name not in wrong}, model), wrong


def in_words(error: ValidationError, field: str = "") -> str:
    """Where the first mistake (in `field`, if given) is and what it is."""
    found = [one for one in error.errors() if not field or str(one["loc"][0]) == field]
    where = ".".join(map(str, found[0]["loc"]))
    return f"{where}: {found[0]['msg']}" if where else found[0]["msg"]
