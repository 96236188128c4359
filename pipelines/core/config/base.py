"""The types that settings are made of. pydantic and the standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipelines.core.addresses import is_api


def _address(url: str) -> str:
    url = url.strip()
    if url and not is_api(url):
        raise ValueError(f"{url!r} is no address of a server: write something like https://host/v1")
    return url


Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]  # neither 0 nor 1
OpenShareOrOne = Annotated[float, Field(gt=0, le=1)]
Odds = Annotated[float, Field(ge=1, le=100)]  # a ratio of odds, in either direction
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(gt=0, le=65_535)]
ServerAddress = Annotated[str, AfterValidator(_address)]  # http or https; empty: no server
Cron = Annotated[str, Field(pattern=r"^((\S+ +){4}\S+|@[a-z]+)?$")]  # five fields, UTC; empty: no schedule


class Section(BaseModel):
    """One table of a profile. It cannot be changed, and an unknown key is refused. Numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# As a user's part of the address, in which a database's password may hold "/" and ":", or as an option.
WITH_PASSWORD = re.compile(
    r"^[a-z][a-z0-9+.-]*://([^/@\s]*:[^/@\s]+@|\S*[?&]\w*password=)"
    r"|^(postgres|mysql|redis)[a-z0-9+]*://[^@\s]*:[^@\s]+@",
    re.IGNORECASE,
)


def passwords_in(data: Any, name: str = "") -> Iterator[str]:
    """The names of the settings whose address holds a password."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from passwords_in(value, f"{name}.{key}" if name else str(key))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from passwords_in(value, name)
    elif isinstance(data, str) and WITH_PASSWORD.match(data):
        yield name
