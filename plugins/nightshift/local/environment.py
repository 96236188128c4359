"""Airflow's settings for one machine. All are environment variables, so there is no airflow.cfg."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

from nightshift.settings import PROJECT, Settings
from pipelines.core.files import write_once

HOST = "127.0.0.1"
USER = "admin"


def airflow_home(settings: Settings) -> Path:
    return settings.home / "airflow"


def password(settings: Settings) -> str:
    """The generated password of the Airflow UI."""
    return json.loads(_passwords_file(settings).read_text())[USER]


def create_secrets(settings: Settings) -> bool:
    """Make the keys and the UI's password where they are missing, mode 0600; True for a new password."""
    keys = {
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(64),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
    }
    write_once(_keys_file(settings), json.dumps(keys).encode())
    passwords = {USER: secrets.token_urlsafe(15)}
    return write_once(_passwords_file(settings), json.dumps(passwords).encode())


def airflow_environment(settings: Settings, port: int) -> dict[str, str]:
    """The environment of every Airflow process; `port` is the API server's, on loopback."""
    home = airflow_home(settings)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")},
        **json.loads(_keys_file(settings).read_text()),
        **_TUNING,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": _bundles(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:ADMIN",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords_file(settings)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__API__PORT": str(port),
        "NIGHTSHIFT_HOME": str(settings.home),
        "NIGHTSHIFT_CONFIG": str(settings.config_path),
        "NIGHTSHIFT_PYTHON": str(settings.python),
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}",
        "NO_PROXY": f"{HOST},localhost",
    }


# Measured: six sequential tasks take 3 to 4.5 s so, 8 to 10 s with Airflow's defaults.
_TUNING = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "8",  # at 4, supervisors that linger hold up the next task
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__SCHEDULER__CATCHUP_BY_DEFAULT": "False",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "15",
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__EXECUTION_API__JWT_EXPIRATION_TIME": "86400",  # longer than the longest step
    "AIRFLOW__API__HOST": HOST,
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__API__INSTANCE_NAME": "Nightshift",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


def _bundles() -> str:
    bundle = {
        "name": "nightshift",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(PROJECT / "dags")},
    }
    return json.dumps([bundle])


def _keys_file(settings: Settings) -> Path:
    return airflow_home(settings) / "keys.json"


def _passwords_file(settings: Settings) -> Path:
    return airflow_home(settings) / "passwords.json"
