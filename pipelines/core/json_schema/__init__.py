"""JSON schemas of answers: whether one can be used, what follows it, and in which order its keys stand."""

from pipelines.core.json_schema.schema import Schema

__all__ = ["Schema"]
