"""The operators in pod mode, against the test double of Kubernetes: execute, trigger, resume."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    TaskDeferred,
)
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from nightshift.launchers.pods.document import instance
from nightshift.launchers.pods.reaper import reap
from nightshift.operators.command import ANSWER, FAULT
from nightshift.operators.reaper import LeftoverTrigger, ReapOperator
from nightshift.operators.step import StepOperator
from nightshift.settings import Settings

from pipelines.core.config import load_config
from tests.dags.pod_tasks import PodTask
from tests.support import pods as support
from tests.support.kubernetes import running_kubernetes
from tests.support.standin import write_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PROJECT = Path(__file__).resolve().parents[2]
NAMESPACE = support.NAMESPACE
LIMITS = "schedule_timeout_s = 3\nstartup_timeout_s = 3\nbroken_start_s = 1\nmax_interruptions = 2"


class World:
    """A cluster, a home for the stand-in's script, and one task of a night."""

    def __init__(self, cluster, home):
        self.cluster, self.home = cluster, home
        home.mkdir()

    def begin(self, step="train", pods="", night=1):
        """A task that has not begun; what it pushes and stores is kept here."""
        path = support.write_profile(
            self.home / "cluster.toml", self.home, self.cluster.kubeconfig, f"{LIMITS}\n{pods}"
        )
        settings = Settings(self.home, path, self.home, load_config(path, self.home))
        job = PodTask(settings, step, date(2026, 1, night))
        self.context, self.task, self.run, self.step = job.context, job.operator, job.run, step
        self.pushed, self.store = job.pushed, job.store
        return self

    def script(self, **answers):
        (self.home / "script.json").write_text(json.dumps(answers))

    def defer(self, call=None):
        """Run the task until it gives itself back; returns its trigger, as the triggerer gets it."""
        with pytest.raises(TaskDeferred) as deferred:
            (call or self.task.execute)(self.context())
        assert deferred.value.method_name == "resume"
        trigger = deferred.value.trigger
        path, kept = trigger.serialize()
        assert path == "nightshift.launchers.pods.trigger.CommandPodTrigger"
        return type(trigger)(**json.loads(json.dumps(kept)))

    def resume(self, event):
        return self.task.resume(self.context(), json.loads(json.dumps(event)))

    def finish(self, trigger=None):
        """Trigger and task by turns, until the task ends."""
        while True:
            try:
                if trigger:
                    self.resume(fired(trigger))
                else:
                    self.task.execute(self.context())
                return self.pushed
            except TaskDeferred as deferred:
                trigger = deferred.trigger

    def fault(self, trigger=None):
        """The sentence with which the task fails, and whether Airflow tries again."""
        with pytest.raises(AirflowException) as caught:
            self.finish(trigger)
        assert self.pushed[FAULT] == str(caught.value)
        return self.pushed[FAULT], not isinstance(caught.value, AirflowFailException)

    def name(self):
        return self.store["nightshift_pod"]["name"]

    def running(self):
        """The task's pod, once its command works."""
        self.cluster.wait_for(self.name(), "Running", NAMESPACE)
        self.cluster.wait(lambda: (self.home / f"{self.step}.pid").exists())
        return self.name()

    def looks(self):
        """How often the pod was looked at."""
        return sum(f"/pods/{self.name()}" in request for request in [*self.cluster.requests])

    def pods(self):
        return [pod["metadata"]["name"] for pod in self.cluster.pods(NAMESPACE)]

    def trained(self):
        """How often the stand-in was asked to work."""
        return len((self.home / "calls.txt").read_text().splitlines())


def fired(trigger):
    """What the trigger sends."""

    async def first():
        return (await anext(aiter(trigger.run()))).payload

    return asyncio.run(asyncio.wait_for(first(), 120))


@pytest.fixture
def programs(place):
    """The programs in the pods' image."""
    return write_program(place / "programs")


@pytest.fixture
def place():
    """A folder. Not below /tmp: each pod has a /tmp of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightshift-") as folder:
        yield Path(folder)


@pytest.fixture
def world(place, programs):
    home = place / "home"
    images = support.image(programs, STANDIN_HOME=str(home))
    with running_kubernetes(images, nodes={"node-1": {"nvidia.com/gpu": "1"}}) as cluster:
        world = World(cluster, home)
        world.begin()
        support.furnish(cluster, home / "cluster.toml")
        yield world


def test_a_step_runs_in_a_pod_and_its_answer_comes_back(world):
    pushed = world.finish()
    assert pushed[ANSWER]["verdict"] == "proceed"
    assert pushed[ANSWER]["started"] < pushed[ANSWER]["ended"]
    assert "interruptions" not in pushed[ANSWER]
    world.cluster.wait(lambda: not world.pods())
    assert world.store["nightshift_pod"]["done"]


def test_what_a_person_writes_reaches_the_command_as_it_is(world, monkeypatch):
    written = "--set=curate.note=$5, $$9 and $(TMPDIR)"
    words = StepOperator.words
    monkeypatch.setattr(StepOperator, "words", lambda *args: [*words(*args), written])
    world.finish()
    assert written.removeprefix("--set=") in (world.home / "calls.txt").read_text()


def test_the_log_streams_while_the_pod_works(world, capfd):
    world.script(train="sleep")
    trigger = world.defer()
    world.running()

    async def look():
        task = asyncio.create_task(anext(aiter(trigger.run())))
        while "train works with" not in capfd.readouterr().out:
            await asyncio.sleep(0.1)
        task.cancel()

    asyncio.run(asyncio.wait_for(look(), 60))


@pytest.mark.parametrize(
    ("said", "words", "again"),
    [
        ("fault", "It rains in train. Take an umbrella.", False),
        (
            "crash",
            "train ended with exit status 1. Its last line was: RuntimeError: It rains in train.",
            True,
        ),
    ],
)
def test_a_command_that_fails_speaks_for_itself(world, said, words, again):
    world.script(train=said)
    sentence, retried = world.fault()
    assert words in sentence
    assert retried is again


def test_a_pod_without_a_result_did_not_succeed(world, programs):
    (programs / "nightshift").write_text("#!/bin/sh\nexit 0\n")
    sentence, retried = world.fault()
    assert "succeeded but left no result at" in sentence
    assert retried


def seen(world, trigger, how):
    """What the trigger sends when that happens to the running pod, by name, while it is watched."""
    before = world.running()
    (world.home / "train.pid").unlink()

    async def watched():
        looks = world.looks()
        first = asyncio.create_task(anext(aiter(trigger.run())))
        while world.looks() < looks + 2:
            await asyncio.sleep(0.1)
        await asyncio.to_thread(how, before)
        return (await first).payload

    return asyncio.run(asyncio.wait_for(watched(), 120))


def interrupt(world, trigger, how):
    """The cluster takes the running pod away while it is watched; returns the next trigger."""
    event, before = seen(world, trigger, how), world.name()
    with pytest.raises(TaskDeferred) as deferred:
        world.resume(event)
    assert world.name() != before
    return deferred.value.trigger


def test_preempted_pods_go_on_and_use_up_no_retry(world):
    world.script(train="sleep")
    trigger = interrupt(world, world.defer(), lambda name: world.cluster.preempt(name, NAMESPACE))
    trigger = interrupt(
        world, trigger, lambda name: world.cluster.evict(name, "node is low on disk", NAMESPACE)
    )
    event = seen(world, trigger, lambda name: world.cluster.delete(name, NAMESPACE, 0))
    world.script()
    with pytest.raises(AirflowException, match="was deleted while it ran, and not by Nightshift"):
        world.resume(event)
    assert "was preempted" in world.task.remark
    assert "was evicted" in world.task.remark
    world.finish()  # the retry
    assert world.pushed[ANSWER]["verdict"] == "proceed"


def test_a_lost_node_costs_no_retry_and_the_answer_says_so(world):
    world.script(train="sleep")
    trigger = interrupt(world, world.defer(), lambda _: world.cluster.node_lost("node-1"))
    world.script()
    world.cluster.add_node("node-2", {"nvidia.com/gpu": "1"})
    (said,) = world.finish(trigger)[ANSWER]["interruptions"]
    assert re.search(r"lost node-1, which got a taint.*, after \d+ s; a new pod went on\.", said)
    assert world.task.remark == said


def test_interruptions_without_an_end_are_a_fault(world):
    world.script(train="sleep")
    trigger = world.defer()
    for _ in range(2):
        trigger = interrupt(world, trigger, lambda name: world.cluster.preempt(name, NAMESPACE))
    world.cluster.preempt(world.running(), NAMESPACE)
    sentence, retried = world.fault(trigger)
    assert "It was interruption 3 of this task, and pods.max_interruptions allows 2." in sentence
    assert retried


def test_a_quota_that_is_used_up_is_waited_for(world):
    meta = {"name": "few", "namespace": NAMESPACE}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "1"}}}
    world.cluster.create(quota)
    world.script(train="sleep")
    trigger = world.defer()
    world.running()
    (world.home / "train.pid").unlink()
    world.begin(night=2)
    with pytest.raises(AirflowRescheduleException):
        world.task.execute(world.context())
    assert world.pushed == {}
    world.script()
    world.cluster.delete(trigger.pod_name, NAMESPACE, 0)
    world.cluster.wait(lambda: not world.pods())
    assert world.finish()[ANSWER]["verdict"] == "proceed"


def test_a_quota_without_an_end_is_a_fault(world):
    meta = {"name": "none", "namespace": NAMESPACE}
    world.cluster.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "0"}}}
    )
    with pytest.raises(AirflowRescheduleException):
        world.task.execute(world.context())
    time.sleep(3.5)  # pods.schedule_timeout_s
    sentence, retried = world.fault()
    assert "Quota none of namespace nightshift has no room for pod train-" in sentence
    assert retried


def out_of_memory(world):
    world.cluster.oom(world.running(), namespace=NAMESPACE)


FAULTS = {
    "no GPU": ("gpu = 8", None, r"1 node\(s\) have not enough nvidia.com/gpu left \(asked: 8\)"),
    "selector": ('node_selector = {disk = "ssd"}', None, r"1 node\(s\) lack the label disk=ssd"),
    "memory": ("", out_of_memory, "used more memory than its limit of 4Gi and was killed"),
    "image": ("", lambda world: world.cluster.images.clear(), "of the container step .* cannot be pulled"),
    "secret": ('environment_secret = "nothing"', None, "there is no Secret nothing"),
    "account": ('service_account = "nobody"', None, "has no service account nobody"),
    "webhook": ("", lambda world: world.cluster.refuse("policy.example", "no"), "webhook policy.example"),
    "deadline": ("deadline_s = 1", None, "ran for longer than its deadline of 1 s"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_a_failed_pod_says_why(world, kind):
    pods, happens, sentence = FAULTS[kind]
    world.begin(pods=pods).script(train="sleep")
    if happens in (None, out_of_memory):
        trigger = None if kind == "account" else world.defer()
        if happens:
            happens(world)
        found, _ = world.fault(trigger)
    else:
        happens(world)
        found, _ = world.fault()
    assert re.search(sentence, found), found


LOST_WORKER = {
    "before the pod was stored": lambda world: world.store.clear(),
    "while the pod waits": lambda world: None,
    "while the pod runs": lambda world: world.running(),
    "when the pod is over": lambda world: world.cluster.wait_for(world.name(), "Succeeded", NAMESPACE),
    "when the pod is gone": lambda world: gone_with_a_result(world),
}


def gone_with_a_result(world):
    world.cluster.wait_for(world.name(), "Succeeded", NAMESPACE)
    world.cluster.delete(world.name(), NAMESPACE, 0)
    world.cluster.wait(lambda: not world.pods())


@pytest.mark.parametrize("when", LOST_WORKER)
def test_a_worker_that_is_lost_trains_once(world, when):
    world.script(train="wait") if "runs" in when else world.script()
    world.defer()
    LOST_WORKER[when](world)
    (world.home / "go").touch()
    world.finish()
    assert world.pushed[ANSWER]["verdict"] == "proceed"
    assert world.trained() == 1


@pytest.mark.parametrize("answers", [[500, 503, 429], [500] * 3])
def test_an_api_server_that_is_away_is_waited_for(world, answers):
    for status in answers:
        world.cluster.api_errors(1, status, "POST .*/pods")
    trigger = world.defer()
    world.cluster.api_errors(4, 503, "GET .*/pods/train")
    assert world.finish(trigger)[ANSWER]["verdict"] == "proceed"
    assert world.trained() == 1


def test_a_triggerer_that_is_lost_watches_again(world):
    world.script(train="wait")
    trigger = world.defer()
    world.running()

    async def cut_short():
        task = asyncio.create_task(anext(aiter(trigger.run())))
        await asyncio.sleep(2)
        task.cancel()

    asyncio.run(cut_short())
    (world.home / "go").touch()
    _, kept = trigger.serialize()
    assert world.finish(type(trigger)(**json.loads(json.dumps(kept))))[ANSWER]["verdict"] == "proceed"
    assert world.trained() == 1


def test_who_ends_the_task_ends_the_pod(world):
    world.script(train="sleep")
    trigger = world.defer()
    world.running()
    asyncio.run(trigger.on_kill())  # while it is deferred
    world.cluster.wait(lambda: not world.pods(), 30)


def test_who_ends_the_task_in_its_worker_ends_the_pod(world):
    world.script(train="sleep")
    world.defer()
    world.running()
    world.task.on_kill()
    world.cluster.wait(lambda: not world.pods(), 30)


def reaped(world, states):
    """What the reaper's task writes down."""
    context = world.context()
    context["ti"].get_task_states = lambda **asked: states
    with DAG("pod_reaper"):
        reaper = ReapOperator(task_id="reap", settings=world.task.settings)
    reaper.execute(context)
    return world.pushed[ANSWER]["reasons"]


@pytest.mark.parametrize(
    ("state", "ended"),
    [("success", 1), ("failed", 1), (None, 1), ("deferred", 0), ("up_for_retry", 0), ("cleared", 0)],
)
def test_the_reaper_ends_pods_whose_task_is_over(world, state, ended):
    world.script(train="sleep")
    world.defer()
    world.running()
    states = {} if state is None else {world.run: {"train": None if state == "cleared" else state}}
    found = reaped(world, states)
    if ended:
        assert found == [f"{world.name()}, of train in run {world.run} of nightly_retrain"]
        world.cluster.wait(lambda: not world.pods(), 30)
    else:
        assert found == []
        assert world.pods() == [world.name()]


def test_a_task_that_ends_unwatched_frees_the_node(world, monkeypatch):
    """Its pod was made, and a person ended the task before the triggerer watched it."""
    world.cluster.api_errors(2, 503, "GET .*labelSelector")  # and Kubernetes is away just then
    world.script(train="sleep")
    world.defer()
    name, states = world.running(), {world.run: {"train": "deferred"}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **asked: states)
    config = world.task.settings.config
    pods = config.pods.model_copy(update={"reaper_poll_s": 1}).model_dump(mode="json")
    _, kept = LeftoverTrigger(pods=pods, instance=instance(config)).serialize()

    async def watched():
        first = asyncio.create_task(anext(aiter(LeftoverTrigger(**json.loads(json.dumps(kept))).run())))
        asked = "labelSelector"
        before = sum(asked in request for request in [*world.cluster.requests])
        while sum(asked in request for request in [*world.cluster.requests]) < before + 5:
            await asyncio.sleep(0.1)
        assert world.pods() == [name]
        states[world.run]["train"] = "failed"
        return (await first).payload

    event = asyncio.run(asyncio.wait_for(watched(), 120))
    assert event == {"ended": f"{name}, of train in run {world.run} of nightly_retrain"}
    world.cluster.wait(lambda: not world.pods(), 30)


def test_the_reaper_writes_down_what_the_trigger_ended(world):
    told = SimpleNamespace(extra={"from_trigger": True, "payload": {"ended": "train-1, of train"}})
    by_hand = SimpleNamespace(extra={})
    context = world.context
    world.context = lambda: context() | {"triggering_asset_events": {"pods": [told, by_hand]}}
    assert reaped(world, {}) == ["train-1, of train"]


def test_the_reaper_leaves_pods_of_other_installations_alone(world):
    world.script(train="sleep")
    world.defer()
    other = world.home / "other"
    path = support.write_profile(world.home / "other.toml", other, world.cluster.kubeconfig)
    pods, ours = world.task.settings.config.pods, instance(world.task.settings.config)
    assert [*reap(pods, instance(load_config(path, other)), lambda owner: True)] == []
    assert [*reap(pods, ours, lambda owner: True)] != []


def test_the_reaper_is_a_dag_in_pod_mode_only(world):
    program = (
        "from airflow.dag_processing.dagbag import DagBag; import sys;"
        "dag = DagBag(sys.argv[1]).dags['pod_reaper'];"
        "print([one.name for one in dag.timetable.asset_condition.objects], dag.task_ids)"
    )
    path = f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"
    environment = {**os.environ, "PYTHONPATH": path, "NIGHTSHIFT_CONFIG": str(world.home / "cluster.toml")}
    done = subprocess.run(
        [sys.executable, "-c", program, PROJECT / "dags"], env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "['nightshift_leftover_pods'] ['reap']", done.stderr
