"""The steps of a night, one module each, readable top to bottom."""
