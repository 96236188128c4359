"""A schema that answers follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from referencing import Registry
from referencing.exceptions import Unresolvable

from pipelines.core.json_schema.order import Order
from pipelines.core.json_schema.usable import Root, check_usable, kind_of
from pipelines.core.json_schema.visits import TooComplex, bounded, counted


class Schema:
    """Checks values within bounds, and asks no other address for a schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises ValueError with what is wrong, as the end of a sentence that begins with its name."""
        check_usable(schema)
        # Without `$schema`: jsonschema would choose its own validator by it, which has no bounds.
        plain = {name: value for name, value in schema.items() if name != "$schema"}
        root = Root(plain, kind_of(schema))
        self._validator = bounded(root.kind)(plain, registry=Registry())
        self._order = Order(root, self._validator)

    def fault(self, value: Any) -> str:
        """Why a value does not follow the schema, "" if it does."""
        return self.read(value)[1]

    def read(self, value: Any) -> tuple[Any, str]:
        """A value of JSON in the schema's order, and why it does not follow the schema, "" if it does."""
        try:
            with counted():
                error = next(self._validator.iter_errors(value), None)
                return (value, error.message[:200]) if error else (self._order.of(value), "")
        except TooComplex:
            return value, "it is too complex to check against the schema"
        except (RecursionError, ArithmeticError, TypeError, Unresolvable):
            return value, "it cannot be checked against the schema"
