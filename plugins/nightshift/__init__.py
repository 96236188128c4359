"""The control plane: what Airflow needs to run Nightshift's steps. Never imports an ML library."""
