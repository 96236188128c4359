"""Decisions of a night."""
