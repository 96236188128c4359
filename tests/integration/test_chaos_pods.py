"""Nights in pods under a real Airflow, while parts of all of it are killed at random.

`make chaos` runs it and prints a table. NIGHTSHIFT_CHAOS_KILLS says how many, NIGHTSHIFT_CHAOS_SEED which.
The steps are stand-ins that keep checkpoints. Each night must end as an undisturbed one does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

pytest.importorskip("airflow")
PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "plugins"))

from nightshift.local import main as local  # noqa: E402
from nightshift.local.api import Api  # noqa: E402
from nightshift.local.environment import password  # noqa: E402
from nightshift.local.follow import run_of, start_night  # noqa: E402
from nightshift.settings import Settings  # noqa: E402

from pipelines.core.config import load_config  # noqa: E402
from pipelines.core.contract import CLOSING, NIGHTLY  # noqa: E402
from tests.support import pods as support  # noqa: E402
from tests.support.airflow_api import patch  # noqa: E402
from tests.support.kubernetes import running_kubernetes  # noqa: E402
from tests.support.pod_chaos import Kills, Servers, until  # noqa: E402
from tests.support.shown import show  # noqa: E402
from tests.support.trainer import EPOCHS, write_program  # noqa: E402

pytestmark = [pytest.mark.chaos, pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(7200)]
KILLS = int(os.environ.get("NIGHTSHIFT_CHAOS_KILLS", "100"))
SEED = int(os.environ.get("NIGHTSHIFT_CHAOS_SEED", "11"))
STEPS = (*NIGHTLY, *CLOSING)
NIGHT_S = 900


@pytest.fixture(scope="module")
def home():
    """Not below /tmp: each pod has a /tmp of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightshift-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(home):
    images = support.image(write_program(home / "programs"), STANDIN_HOME=str(home / "work"), EPOCH_S="0.5")
    with running_kubernetes(images, nodes={"node-1": {}}) as cluster:
        profile = support.write_profile(
            home / "pods.toml", home, cluster.kubeconfig, "max_interruptions = 99"
        )
        support.furnish(cluster, profile)
        yield cluster


@pytest.fixture(scope="module")
def airflow(home, cluster):
    profile = home / "pods.toml"
    settings = Settings(home, profile, Path(sys.executable), load_config(profile, home))
    local.setup(settings)
    servers = Servers(settings)
    try:
        servers.start()
        api = Api(servers.url, password(settings))
        for dag in ("nightly_retrain", "pod_reaper"):
            until(lambda dag=dag: api.call(f"/api/v2/dags/{dag}"), 120)
            patch(api, f"/api/v2/dags/{dag}", {"is_paused": False})
        yield servers, api
    finally:
        servers.stop()


class Story:
    """What happened, night by night."""

    def __init__(self, home, cluster, api, kills):
        self.home, self.cluster, self.api, self.kills = home, cluster, api, kills
        self.nights, self.retries, self.unasked = [], 0, []
        self.began = time.monotonic()

    def night(self):
        """Run the next night, with as many kills as its time allows."""
        night = str(date(2026, 1, 1) + timedelta(days=len(self.nights)))
        self.kills.worker_lost = False
        run_id = start_night(self.api, {"night": night})
        end = time.monotonic() + NIGHT_S
        while (state := run_of(self.api, run_id)["state"]) not in ("success", "failed"):
            assert time.monotonic() < end, f"night {night} does not end"
            if sum(self.kills.made.values()) < KILLS and (made := self.kills.make()):
                print(f"{time.monotonic() - self.began:6.1f} s  {made}", flush=True)
            time.sleep(self.kills.random.uniform(0.5, 4))
        tasks = run_of(self.api, run_id, "/taskInstances?limit=100")["task_instances"]
        tried_again = [task["task_id"] for task in tasks if task["try_number"] > 1]
        self.retries += len(tried_again)
        self.unasked += [] if self.kills.worker_lost else tried_again
        print(f"{time.monotonic() - self.began:6.1f} s  night {night}: {state}", flush=True)
        faults = [task for task in tasks if task["state"] == "failed"]
        assert state == "success", [(task["task_id"], task["note"]) for task in faults]
        self.nights.append(night)
        until(lambda: not self.cluster.pods(support.NAMESPACE), 120)

    def different(self, calm):
        """The nights whose result is not that of the calm one."""
        return [night for night in self.nights if manifests(self.home / "runs" / night) != calm]

    def work(self, night, step):
        return Counter((self.home / "work" / night / step / "work.txt").read_text().splitlines())

    def count(self, what):
        return sum(self.work(night, step)[what] for night in self.nights for step in STEPS)

    def table(self, calm):
        lines = {
            **{kind: times for kind, times in self.kills.made.most_common() if times},
            "kills": sum(self.kills.made.values()),
            "nights": len(self.nights),
            "steps begun in a pod": self.count("start"),
            "steps finished": self.count("end"),
            "retries used": self.retries,
            "pods left over": len(self.cluster.pods(support.NAMESPACE)),
            "nights whose result differs": len(self.different(calm)),
        }
        return "\n".join(
            ["| what | times |", "|---|---:|", *(f"| {what} | {n} |" for what, n in lines.items())]
        )


@pytest.fixture(scope="module")
def story(request, home, cluster, airflow, calm):
    servers, api = airflow
    story = Story(home, cluster, api, Kills(cluster, servers, SEED))
    while sum(story.kills.made.values()) < KILLS:
        story.night()
    yield story
    show(request, story.table(calm))


@pytest.fixture(scope="module")
def calm(home, cluster):
    """The manifests of a night without Airflow, without pods and without kills."""
    environment = {**os.environ, "STANDIN_HOME": str(home / "calm")}
    for step in STEPS:
        where = [f"--run-dir={home}/calm/runs", f"--result={home}/calm/result.json"]
        subprocess.run([home / "programs" / "nightshift", step, *where], env=environment, check=True)
    return manifests(home / "calm" / "runs")


def manifests(folder):
    return {step: json.loads((folder / step / "manifest.json").read_text()) for step in STEPS}


def test_each_night_is_the_undisturbed_one(story, calm):
    assert story.different(calm) == []


def test_each_step_was_finished_once(story):
    for night in story.nights:
        for step in STEPS:
            work = story.work(night, step)
            assert work["end"] == 1, (night, step, work)
            assert all(work[f"epoch {epoch + 1}"] >= 1 for epoch in range(EPOCHS))


def test_only_lost_workers_cost_a_retry(story):
    assert story.unasked == []


def test_no_pod_is_left_over(story):
    assert sum(story.kills.made.values()) >= KILLS
    assert story.cluster.pods(support.NAMESPACE) == []
