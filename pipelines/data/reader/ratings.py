"""Ratings by the scale of `[ingest.rating]`. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pipelines.core.config.columns import RatingScale, rating_key
from pipelines.data.reader.cells import Unfit, is_blank, kind_of, shown


class Ratings:
    """Reads a rating as 1, 0 or -1."""

    def __init__(self, scale: RatingScale) -> None:
        sides = ((scale.neutral, 0), (scale.bad, -1), (scale.good, 1))
        self._values = {rating_key(value): rating for side, rating in sides for value in side}
        self._good_from, self._bad_to = scale.good_from, scale.bad_to

    def read(self, value: Any) -> int | None:
        """None where it is missing. Raises Unfit for a value that the scale does not name."""
        if is_blank(value):
            return None
        if not isinstance(value, bool | int | float | str | Decimal):
            raise Unfit(kind_of(value))
        key = rating_key(float(value) if isinstance(value, Decimal) else value)
        if key in self._values:
            return self._values[key]
        if isinstance(key, float) and self._good_from is not None and self._bad_to is not None:
            return 1 if key >= self._good_from else -1 if key <= self._bad_to else 0
        raise Unfit(kind_of(value), shown(value))
