"""Traces and metrics of the commands."""
