"""Decisions about alerts and live traffic."""
