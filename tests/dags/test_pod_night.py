"""A tiny night with its real steps in pods, beside the same night in processes; then commands of other DAGs.

At the level of operator and trigger, on the test double of Kubernetes. Each pod has a home of its own, and
Airflow's side has the rights that deploy/kubernetes gives it, and no others.
"""

import asyncio
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from nightshift.operators.alerts import RouteOperator
from nightshift.operators.command import ANSWER
from nightshift.operators.rollout import RolloutOperator
from nightshift.operators.step import StepOperator
from nightshift.operators.watch import FeatureSyncOperator, WatchOperator
from nightshift.settings import Settings

from pipelines.core.config import load_config
from pipelines.core.facts.record import decision_facts
from pipelines.stores import open_ledger, open_run
from tests.support import pods as support
from tests.support import real_night
from tests.support.kubernetes import Image, running_kubernetes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NAMESPACE, NIGHT = support.NAMESPACE, real_night.NIGHT


class Store(dict):
    """Airflow's task state store."""

    set = dict.__setitem__


@pytest.fixture(scope="module")
def home():
    """Not below /tmp: each pod has a /tmp of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightshift-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(home):
    images = {support.REPOSITORY: Image(path=str(real_night.write_program(home / "programs")))}
    with running_kubernetes(images, nodes={"node-1": {"nvidia.com/gpu": "1"}}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def settings(home, cluster, redis_server):
    redis, registry = f"redis://127.0.0.1:{redis_server.port}/1", f"sqlite:///{home}/feast.db"
    more = real_night.tables(home, redis, registry) + "[pods.train]\ngpu = 1\n"
    login = cluster.kubeconfig_of(NAMESPACE, "nightshift-launcher")
    profile = support.write_profile(home / "pods.toml", home, login, "", more)
    support.furnish(cluster, profile)
    support.give_rights(cluster)
    return Settings(home, profile, Path(sys.executable), load_config(profile, home))


@pytest.fixture(scope="module")
def beside(home, settings, redis_server):
    """The night in processes; it has made what the night in pods reads."""
    process = real_night.start(home, redis_server.port)
    try:
        assert process.wait(600) == 0, (home / "processes.log").read_text()[-4000:]
    finally:
        process.kill()
    config = load_config(home / "processes.toml", home / "processes")
    return open_run(config, str(NIGHT)).manifests()


def finish(task, watching=None):
    """Task and trigger by turns until the task ends; its answer. `watching` runs beside the first trigger."""
    pushed, store = {}, Store()
    ti = SimpleNamespace(
        dag_id=task.dag_id, task_id=task.task_id, map_index=-1, try_number=1,
        xcom_push=pushed.__setitem__, xcom_pull=lambda **_: None,
    )  # fmt: skip
    run = SimpleNamespace(
        dag_id=task.dag_id, run_id="run-1", conf=None, run_after=datetime(2026, 1, 2, tzinfo=UTC),
        triggering_user_name="ann",
    )  # fmt: skip
    context = {
        "ti": ti, "dag_run": run, "run_id": "run-1", "dag": task.dag, "triggering_asset_events": {},
        "params": {"night": str(NIGHT), "reason": "a test"}, "task_state_store": store,
    }  # fmt: skip
    event = None
    while True:
        try:
            task.resume(context, event) if event else task.execute(context)
            return pushed[ANSWER]
        except TaskDeferred as deferred:
            event = asyncio.run(fired(deferred.trigger, watching))
            watching = None


async def fired(trigger, watching):
    """What a trigger sends."""
    first = asyncio.create_task(anext(aiter(trigger.run())))
    if watching:
        await asyncio.to_thread(watching, trigger.record["name"])
    return json.loads(json.dumps((await asyncio.wait_for(first, 600)).payload))


@pytest.fixture(scope="module")
def night(home, cluster, settings, beside):
    """The night in pods: each step's answer. Its training is preempted once."""

    def preempt(name):
        cluster.wait(lambda: [*home.glob("shared/checkpoints/**/attempt-*.json")], 300)
        cluster.preempt(name, NAMESPACE)

    answers = {}
    for step in real_night.STEPS:
        with DAG("nightly_retrain"):
            task = StepOperator(task_id=step, settings=settings)
        answers[step] = finish(task, preempt if step == "train" else None)
    return answers


def test_a_night_in_pods_is_that_in_processes(night, beside, settings):
    found = open_run(settings.config, str(NIGHT)).manifests()
    assert list(found) == list(beside) == list(real_night.STEPS)
    for step, manifest in beside.items():
        assert (found[step].verdict, found[step].reasons) == (manifest.verdict, manifest.reasons), step
        assert found[step].metrics == manifest.metrics, step
        rows = {name: file.sha256 for name, file in manifest.outputs.items() if "parquet" in file.path}
        assert {name: found[step].outputs[name].sha256 for name in rows} == rows, step
        assert night[step]["verdict"] == manifest.verdict


def test_a_preempted_training_is_the_undisturbed_one(night, beside, settings):
    """Its curves and its adapter; and the decision and the report say what the interruption cost."""
    found = open_run(settings.config, str(NIGHT))
    assert found.manifest("train").facts == beside["train"].facts
    (said,) = night["train"]["interruptions"]
    assert "was preempted by one of higher priority" in said
    (decision,) = open_ledger(settings.config).decisions()
    interruptions = decision_facts(decision.facts).interruptions
    assert interruptions.times == 1
    assert interruptions.seconds > 0
    report = found.artifact(found.manifest("report"), "report")
    assert interruptions.sentence in report.read_text()


@pytest.mark.parametrize("command", ["watch", "features-sync", "alerts-route", "rollout-rollback"])
def test_the_other_dags_commands_end_in_pods(night, cluster, settings, command):
    with DAG("another"):
        task = {
            "watch": lambda: WatchOperator(task_id="watch", settings=settings),
            "features-sync": lambda: FeatureSyncOperator(task_id="sync", settings=settings),
            "alerts-route": lambda: RouteOperator(task_id="route", settings=settings),
            "rollout-rollback": lambda: RolloutOperator(
                task_id="rollback", settings=settings, rollout="rollback"
            ),
        }[command]()
    answer = finish(task)
    if command == "rollout-rollback":
        assert answer["answer"] == "nothing"
    cluster.wait(lambda: not cluster.pods(NAMESPACE))
