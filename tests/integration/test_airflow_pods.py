"""A night under a real Airflow whose steps run in pods, on the test double of Kubernetes.

The work is a stand-in. Each task is really deferred: the triggerer watches its pod.
"""

import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("airflow")
import psutil

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))

from nightshift.local import instance as machine  # noqa: E402
from nightshift.local import main as local  # noqa: E402
from nightshift.local.api import Api  # noqa: E402
from nightshift.local.environment import password  # noqa: E402
from nightshift.local.follow import follow, run_of, start_night  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from pipelines.core.config import load_config  # noqa: E402
from pipelines.core.contract import CLOSING, NIGHTLY  # noqa: E402
from tests.support import pods as support  # noqa: E402
from tests.support.airflow_api import patch  # noqa: E402
from tests.support.kubernetes import running_kubernetes  # noqa: E402
from tests.support.standin import write_program  # noqa: E402

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]
NAMESPACE = support.NAMESPACE


@pytest.fixture(scope="module")
def home():
    """Not below /tmp: each pod has a /tmp of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightshift-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(home):
    images = support.image(write_program(home / "programs"), STANDIN_HOME=str(home))
    with running_kubernetes(images, nodes={"node-1": {"nvidia.com/gpu": "1"}}) as cluster:
        more = "[pods.train]\ngpu = 1\n"
        support.furnish(
            cluster, support.write_profile(home / "pods.toml", home, cluster.kubeconfig, "", more)
        )
        yield cluster


@pytest.fixture(scope="module")
def settings(home, cluster):
    settings = Settings(home, home / "pods.toml", Path(sys.executable), load_config(home / "pods.toml", home))
    local.setup(settings)
    return settings


@pytest.fixture(scope="module")
def airflow(settings):
    instance = machine.start(settings, machine.free_port(), 0, attached=True)
    yield instance
    machine.stop(instance)


@pytest.fixture(scope="module")
def api(settings, airflow):
    return Api(airflow.url, password(settings))


def tasks(api, run_id):
    return {t["task_id"]: t for t in run_of(api, run_id, "/taskInstances?limit=100")["task_instances"]}


def pods(cluster, step):
    found = cluster.pods(NAMESPACE)
    return [pod["metadata"]["name"] for pod in found if pod["metadata"]["labels"]["nightshift/step"] == step]


def looks_at(cluster, name):
    return sum(f"/pods/{name}" in request for request in [*cluster.requests])


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def test_a_night_passes_in_pods_and_a_preempted_training_goes_on(api, settings, cluster, home):
    (home / "script.json").write_text(json.dumps({"train": "wait"}))
    run_id = start_night(api, {"night": "2026-01-01", "force": True})
    within(300, (home / "train.pid").exists)
    (first,) = pods(cluster, "train")
    cluster.preempt(first, NAMESPACE)
    (home / "train.pid").unlink()
    within(120, (home / "train.pid").exists)
    (home / "go").touch()
    assert follow(api, run_id).succeeded
    found = tasks(api, run_id)
    assert {found[step]["state"] for step in (*NIGHTLY, *CLOSING)} == {"success"}
    assert found["trained"]["state"] == "success"
    assert found["train"]["try_number"] == 1
    assert "was preempted" in found["train"]["note"]
    events = sqlite3.connect(home / "ledger.db").execute(
        "select message from task_events where task_id = 'train' and state = 'success'"
    )
    assert "was preempted" in events.fetchone()[0]
    worked = Counter(line.split()[0] for line in (home / "calls.txt").read_text().splitlines())
    assert worked == {**dict.fromkeys((*NIGHTLY, *CLOSING), 1), "train": 2}
    within(60, lambda: not any(pods(cluster, step) for step in (*NIGHTLY, *CLOSING)))


def test_a_failed_pod_is_told_in_the_grid(api, settings, cluster, home):
    (home / "script.json").write_text(json.dumps({"ingest": "sleep"}))
    run_id = start_night(api, {"night": "2026-01-02"})
    within(120, (home / "ingest.pid").exists)
    (name,) = pods(cluster, "ingest")
    cluster.oom(name, namespace=NAMESPACE)
    assert not follow(api, run_id).succeeded
    found = tasks(api, run_id)["ingest"]
    assert found["try_number"] == 1
    assert f"Pod {name} used more memory than its limit of 4Gi" in found["note"]


def deferred(api, cluster, home, night):
    """A night whose first task was given back while its pod works: its run and the pod's name."""
    (home / "script.json").write_text(json.dumps({"ingest": "sleep"}))
    (home / "ingest.pid").unlink(missing_ok=True)
    run_id = start_night(api, {"night": night})
    within(120, (home / "ingest.pid").exists)
    within(60, lambda: tasks(api, run_id)["ingest"]["state"] == "deferred")
    (name,) = pods(cluster, "ingest")
    return run_id, name


def mark_failed(api, run_id):
    path = f"/api/v2/dags/nightly_retrain/dagRuns/{run_id}/taskInstances/ingest"
    patch(api, path, {"new_state": "failed"})


def test_marking_a_task_failed_frees_the_node(api, settings, cluster, home):
    run_id, name = deferred(api, cluster, home, "2026-01-03")
    before = looks_at(cluster, name)
    within(60, lambda: looks_at(cluster, name) > before + 1)  # the triggerer has taken it up
    mark_failed(api, run_id)
    asked = time.monotonic()
    within(120, lambda: not pods(cluster, "ingest"))  # 30 s are promised, on a machine that has time
    print(f"the pod was gone {time.monotonic() - asked:.1f} s after the task was marked")
    assert not follow(api, run_id).succeeded


def test_a_task_marked_before_it_is_watched_frees_the_node(api, airflow, cluster, home):
    """The trigger of such a task is deleted before it ran, so that nobody tells it to end its pod."""
    with stopped(airflow, "triggerer"):
        run_id, name = deferred(api, cluster, home, "2026-01-04")
        mark_failed(api, run_id)
        database = sqlite3.connect(home / "airflow" / "airflow.db")
        with database:  # as a second triggerer does, which tidies up first
            database.execute("update task_instance set trigger_id = null where state = 'failed'")
    asked = time.monotonic()
    within(120, lambda: not pods(cluster, "ingest"))
    print(f"the pod was gone {time.monotonic() - asked:.1f} s after the triggerer was back")
    within(60, lambda: any(name in note for note in notes_of_the_reaper(api)))


def notes_of_the_reaper(api):
    """It may also have ended the pod of the task that was marked before."""
    runs = api.call("/api/v2/dags/pod_reaper/dagRuns?state=success")["dag_runs"]
    return [run["note"] or "" for run in runs]


@contextmanager
def stopped(airflow, name):
    """One of Airflow's servers does nothing meanwhile, with all that it started."""
    (server,) = [one for one in psutil.Process(airflow.pid).children() if name in one.cmdline()]
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()
