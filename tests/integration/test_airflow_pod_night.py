"""The whole product in pods under a real Airflow, on the test double of Kubernetes.

A rollout of stand-ins; then a tiny night with its real steps, beside the same night in processes; then the
real commands of the other DAGs. Airflow has the rights that deploy/kubernetes gives it, and no others.
"""

import json
import re
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytest.importorskip("airflow")
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
from pipelines.core.facts.record import decision_facts  # noqa: E402
from pipelines.stores import open_ledger, open_run  # noqa: E402
from tests.support import pods as support  # noqa: E402
from tests.support import real_night  # noqa: E402
from tests.support.airflow_api import patch  # noqa: E402
from tests.support.kubernetes import Image, running_kubernetes  # noqa: E402
from tests.support.standin import write_program  # noqa: E402

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]
NAMESPACE = support.NAMESPACE


@pytest.fixture(scope="module")
def home():
    """Not below /tmp: each pod has a /tmp of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightshift-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(home, redis_server):
    images = support.image(write_program(home / "programs"), STANDIN_HOME=str(home))
    redis, registry = f"redis://127.0.0.1:{redis_server.port}/1", f"sqlite:///{home}/feast.db"
    more = real_night.tables(home, redis, registry) + "[pods.train]\ngpu = 1\n[promote]\ninterval_s = 5\n"
    with running_kubernetes(images, nodes={"node-1": {"nvidia.com/gpu": "1"}}) as cluster:
        login = cluster.kubeconfig_of(NAMESPACE, "nightshift-launcher")
        support.furnish(cluster, support.write_profile(home / "pods.toml", home, login, "", more))
        support.give_rights(cluster)
        yield cluster


@pytest.fixture(scope="module")
def process(home, cluster, redis_server):
    """The real night in processes. It runs while Airflow starts and the stand-ins work."""
    process = real_night.start(home, redis_server.port)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def settings(home, cluster):
    settings = Settings(home, home / "pods.toml", Path(sys.executable), load_config(home / "pods.toml", home))
    local.setup(settings)
    return settings


@pytest.fixture(scope="module")
def api(settings, process):
    instance = machine.start(settings, machine.free_port(), 0, attached=True)
    yield Api(instance.url, password(settings))
    machine.stop(instance)


@pytest.fixture(scope="module")
def real(process, cluster, home):
    """From here on pods run the real commands."""
    assert process.wait(600) == 0, (home / "processes.log").read_text()[-4000:]
    program = real_night.write_program(home / "real")
    cluster.images[support.REPOSITORY] = Image(path=str(program))


def within(seconds, condition):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def trigger(api, dag_id, conf=None):
    """Start a run of a DAG; returns its address."""
    within(60, lambda: api.call(f"/api/v2/dags/{dag_id}"))
    runs = f"/api/v2/dags/{dag_id}/dagRuns"
    return f"{runs}/" + api.call(runs, {"logical_date": None, "conf": conf or {}})["dag_run_id"]


def states(api, run):
    return {t["task_id"]: t["state"] for t in api.call(f"{run}/taskInstances")["task_instances"]}


def ended(api, run):
    """The state of a run once it has ended."""
    return within(300, lambda: (state := api.call(run)["state"]) in ("success", "failed") and state)


def looked_at(cluster):
    """The names of the pods that were ever looked at."""
    asked = (request.split("/pods/")[1] for request in [*cluster.requests] if "/pods/" in request)
    return {re.split("[/?]", rest)[0] for rest in asked}


def test_a_rollout_passes_in_pods(api, settings, cluster, home):
    """Its analysis says `continue` once: the task goes back into the queue and gets another pod."""
    answers = {"shadow": "moved", "judge shadow": ["continue", "promote"]}
    (home / "script.json").write_text(json.dumps(answers))
    within(60, lambda: api.call("/api/v2/dags/promote"))
    patch(api, "/api/v2/dags/promote", {"is_paused": False})
    run = trigger(api, "promote", {"version": "3"})
    within(200, lambda: states(api, run).get("approve") == "awaiting_input")
    time.sleep(2)  # a person is not that fast: see test_airflow_promote
    answered = {"chosen_options": ["Approve"], "params_input": {}}
    patch(api, f"{run}/taskInstances/approve/-1/hitlDetails", answered)
    assert ended(api, run) == "success", states(api, run)
    found = states(api, run)
    assert {name for name, state in found.items() if state != "success"} == {"abort", "aborted"}
    called = [json.loads(line)["key"] for line in (home / "rollouts.txt").read_text().splitlines()]
    stages = ["advance canary_05", "judge canary_05", "advance canary_25", "judge canary_25"]
    assert called == ["shadow", "judge shadow", "judge shadow", *stages, "advance production"]
    assert len([name for name in looked_at(cluster) if name.startswith("rollout-judge-")]) == 4
    patch(api, "/api/v2/dags/promote", {"is_paused": True})  # the trained night below starts none


def test_a_real_night_in_pods_is_that_in_processes(api, settings, cluster, home, real):
    """Also when its training is preempted; the decision says so."""
    run_id = start_night(api, {"night": str(real_night.NIGHT)})
    within(300, lambda: [*home.glob("shared/checkpoints/**/attempt-*.json")])
    (first,) = (pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE) if is_training(pod))
    cluster.preempt(first, NAMESPACE)
    assert follow(api, run_id).succeeded
    found = {t["task_id"]: t for t in run_of(api, run_id, "/taskInstances?limit=100")["task_instances"]}
    assert (found["trained"]["state"], found["train"]["try_number"]) == ("success", 1)
    assert "was preempted" in found["train"]["note"]
    process = load_config(home / "processes.toml", home / "processes")
    ours = open_run(settings.config, str(real_night.NIGHT)).manifests()
    theirs = open_run(process, str(real_night.NIGHT)).manifests()
    assert list(ours) == list(theirs) == [*NIGHTLY, *CLOSING]
    for step, manifest in theirs.items():
        assert (ours[step].verdict, ours[step].reasons) == (manifest.verdict, manifest.reasons), step
        assert ours[step].metrics == manifest.metrics, step
        rows = {name: file.sha256 for name, file in manifest.outputs.items() if "parquet" in file.path}
        assert {name: ours[step].outputs[name].sha256 for name in rows} == rows, step
    assert ours["train"].facts == theirs["train"].facts  # the same curves and the same adapter
    (decision,) = open_ledger(settings.config).decisions()
    interruptions = decision_facts(decision.facts).interruptions
    assert interruptions.times == 1
    assert interruptions.seconds > 0
    report = open_run(settings.config, str(real_night.NIGHT)).artifact(ours["report"], "report")
    assert interruptions.sentence in report.read_text()


def is_training(pod):
    return pod["metadata"]["labels"]["nightshift/step"] == "train"


def test_the_other_dags_end_in_pods(api, settings, cluster, real):
    commands = {
        "drift_watch": "watch", "feature_sync": "features-sync", "alert_router": "alerts-route",
        "rollback": "rollout-rollback",
    }  # fmt: skip
    conf = {"rollback": {"reason": "a test"}}
    runs = {dag_id: trigger(api, dag_id, conf.get(dag_id)) for dag_id in commands}
    assert {dag_id: ended(api, run) for dag_id, run in runs.items()} == dict.fromkeys(commands, "success")
    names = looked_at(cluster)
    for command in commands.values():
        assert any(name.startswith(f"{command}-") for name in names), command
    notes = {dag_id: api.call(run)["note"] for dag_id, run in runs.items()}
    assert "there is nothing to go back to" in notes["rollback"], notes
    within(60, lambda: not cluster.pods(NAMESPACE))
