"""Airflow reads its environment when it is imported: it is set here, before any test imports it."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCRATCH = tempfile.mkdtemp(prefix="nightshift-tests-")

os.environ |= {
    "AIRFLOW_HOME": f"{SCRATCH}/airflow",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
    "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
    "NIGHTSHIFT_HOME": f"{SCRATCH}/home",
    "NIGHTSHIFT_CONFIG": str(PROJECT / "config" / "demo.toml"),
}
sys.path.insert(0, str(PROJECT / "plugins"))


@pytest.fixture
def settings(tmp_path):
    """Settings whose work environment is the stand-in."""
    from nightshift.settings import Settings

    from pipelines.core.config import load_config
    from tests.support.standin import write_interpreter

    config = PROJECT / "config" / "demo.toml"
    return Settings(tmp_path, config, write_interpreter(tmp_path / "python"), load_config(config, tmp_path))
