"""Decisions of a rollout."""
