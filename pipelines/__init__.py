"""Nightshift's work plane: every step that a night is made of. Never imports Airflow."""
