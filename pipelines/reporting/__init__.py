"""Plots and templates of the reports."""
