"""Feast definitions, for the `features` step and for the `feast` command."""
