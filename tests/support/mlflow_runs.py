"""What MLflow stored, read with its own client."""

from __future__ import annotations

from mlflow import MlflowClient

from pipelines.core.config import Config


def curve(config: Config, mlflow_id: str, name: str) -> list[tuple[int, float]]:
    """A metric's (step, value) pairs."""
    client = MlflowClient(config.path(config.tracking_uri))
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(mlflow_id, name))
