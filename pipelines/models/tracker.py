"""MLflow on a database: one MLflow run for each training, which is found again after a kill."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from pipelines.stores.blobs import Folder
from pipelines.stores.object_store import ATTEMPTS, is_s3

# Set before MLflow is imported, which reads it then: nothing about its use leaves this machine.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# MLflow reaches S3 by boto, which takes these: a store that is away for half a minute ends no night.
os.environ.setdefault("AWS_RETRY_MODE", "standard")
os.environ.setdefault("AWS_MAX_ATTEMPTS", str(ATTEMPTS))

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run

EXPERIMENT = "nightshift"
_FINGERPRINT = "nightshift.fingerprint"
_PARAM_LIMIT = 6000  # characters, MLflow's own

for _chatty in ("mlflow", "alembic"):  # they log migrations and hints; faults are raised
    logging.getLogger(_chatty).setLevel(logging.WARNING)


class Tracker:
    """Training runs in MLflow, each named by its Nightshift run and its fingerprint."""

    def __init__(self, tracking_uri: str, artifact_root: str) -> None:
        self._client = MlflowClient(tracking_uri, registry_uri=tracking_uri)
        found = self._client.get_experiment_by_name(EXPERIMENT)
        root = artifact_root if "://" in artifact_root else Path(artifact_root).resolve().as_uri()
        self._experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT, root)

    def run(self, run_id: str, fingerprint: str) -> str:
        """MLflow's id of the training with this fingerprint in this Nightshift run, created if new."""
        name = f"{run_id}-{fingerprint[:12]}"
        where = f"attributes.run_name = '{name}' and tags.`{_FINGERPRINT}` = '{fingerprint}'"
        found: list[Run] = self._client.search_runs([self._experiment], where, max_results=1)
        if found:
            return found[0].info.run_id
        made = self._client.create_run(self._experiment, run_name=name, tags={_FINGERPRINT: fingerprint})
        return made.info.run_id

    def params(self, mlflow_id: str, values: dict[str, object]) -> None:
        """Log parameters; equal values may be logged again."""
        params = [Param(name, str(value)[:_PARAM_LIMIT]) for name, value in values.items()]
        self._client.log_batch(mlflow_id, params=params)

    def metrics(self, mlflow_id: str, step: int, values: dict[str, float]) -> None:
        """Log a step's numbers. The step is also their time, so that a step logged again is stored once."""
        self._client.log_batch(mlflow_id, [Metric(name, value, step, step) for name, value in values.items()])

    def upload(self, mlflow_id: str, folder: Path, name: str) -> str:
        """Store a folder's files beside the run and return their URI; the same files may come again."""
        uri = str(self._client.get_run(mlflow_id).info.artifact_uri)
        if is_s3(uri):
            Folder(uri, "artifact_root").upload(folder, name)
        else:
            self._client.log_artifacts(mlflow_id, str(folder), name)
        return f"{uri}/{name}"

    def finish(self, mlflow_id: str, tags: dict[str, str]) -> None:
        """Mark a training as finished and set its tags."""
        for name, value in tags.items():
            self._client.set_tag(mlflow_id, name, value)
        self._client.set_terminated(mlflow_id)
