"""PostgreSQL frees what a killed scheduler locked, though its workers keep its connection open."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.cluster import PASSWORD, PROJECT
from tests.support.gateways import until

pytestmark = pytest.mark.slow
ROLES = PROJECT / "deploy/compose/roles.sql"
# A scheduler that has locked its run, and a worker that has inherited its connection.
SCHEDULER = """
import os, sys, time, psycopg
connection = psycopg.connect(sys.argv[1])
connection.execute("SELECT id FROM dag_run FOR NO KEY UPDATE")
worker = os.fork()
if worker:
    print(worker, flush=True)
time.sleep(600)
"""


@pytest.fixture
def run(postgres, empty_database):
    """A database with one run; how to reach it, and whether nobody has locked the run."""
    name = Path(empty_database).name
    postgres.execute(f"CREATE ROLE airflow LOGIN PASSWORD '{PASSWORD}'")
    postgres.execute("CREATE TABLE dag_run AS SELECT 1 AS id", name)
    postgres.execute("GRANT ALL ON dag_run TO airflow", name)
    address = f"host=127.0.0.1 port={postgres.server.port} user=airflow dbname={name}"
    yield address, lambda: postgres.execute("SELECT id FROM dag_run FOR NO KEY UPDATE SKIP LOCKED", name)
    postgres.execute("DROP OWNED BY airflow", name)
    postgres.execute("DROP ROLE airflow")


def test_a_run_whose_scheduler_was_killed_gets_free(postgres, run):
    address, is_free = run
    (statement,) = re.findall(r"ALTER ROLE airflow SET \S+ = '5min'", ROLES.read_text())
    postgres.execute(statement.replace("5min", "2s"))
    command, words = [sys.executable, "-c", SCHEDULER, address], {**os.environ, "PGPASSWORD": PASSWORD}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=words) as scheduler:
        worker = psutil.Process(int(scheduler.stdout.readline()))
        scheduler.kill()
    try:
        until(is_free, 60)
        assert worker.is_running()
    finally:
        worker.kill()
