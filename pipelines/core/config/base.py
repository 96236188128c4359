"""The types that settings are made of. pydantic and the standard library only."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]  # neither 0 nor 1
Positive = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(gt=0, le=65_535)]
Cron = Annotated[str, Field(pattern=r"^((\S+ +){4}\S+|@[a-z]+)?$")]  # five fields, UTC; empty: no schedule


class Section(BaseModel):
    """One table of a profile. It cannot be changed, and an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
