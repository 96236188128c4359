"""Who is lost at which moment of a pod's life: one training, the same result, and what it costs.

TABLE is the one in docs/pods.md. Each cell says how many pods the task needed, and whether it used a retry.
"""

import json
import tempfile
from collections import Counter
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest
from nightshift.launchers.pods.operator import CommandPod
from nightshift.launchers.pods.record import PodRecord
from nightshift.operators.command import ANSWER
from nightshift.settings import Settings

from pipelines.core.config import load_config
from tests.dags.pod_tasks import PodTask, Watch, copied, dying
from tests.support import pods as support
from tests.support.kubernetes import running_kubernetes
from tests.support.kubernetes.resources import NODES
from tests.support.trainer import EPOCHS, write_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
PROJECT = Path(__file__).resolve().parents[2]
TABLE = """
| lost while the pod is | scheduler | triggerer | worker | API server | pod | node |
|---|---|---|---|---|---|---|
| not yet made | 1 | (a) | 1, retry | 1 | (b) | 1 |
| waiting for a node | 1 | 1 | 1, retry | 1 | 2, retry | 1 |
| starting: its image is pulled | 1 | 1 | 1, retry | 1 | 2 | 2 |
| at work, without a checkpoint | 1 | 1 | 1, retry | 1 | 2 | 2 |
| at work, after a checkpoint | 1 | 1 | 1, retry | 1 | 2 | 2 |
| at work, its result is written | 1 | 1 | 1, retry | 1 | 1 | 1 |
| over, and nobody saw it | 1 | 1 | 1, retry | 1 | 1 | 1 |
| being deleted | 2 | 2 | 2, retry | 2 | 2 | 2 |
"""
IMPOSSIBLE = {"(a)": "a trigger is made after its pod", "(b)": "there is no pod yet"}
HEAD, _, *ROWS = ([cell.strip() for cell in line.split("|")[1:-1]] for line in TABLE.strip().splitlines())
CELLS = [
    (row[0], part, cell)
    for row in ROWS
    for part, cell in zip(HEAD[1:], row[1:], strict=True)
    if cell not in IMPOSSIBLE
]
EPOCHS_ONCE = {**{f"epoch {number + 1}": 1 for number in range(EPOCHS)}, "end": 1}
# Where the training waits, so that the pod stays as it is.
POINTS = {"without": "epoch-2", "after a": "epoch-3", "result": "result", "deleted": "epoch-3"}


def test_the_table_is_the_one_in_the_docs():
    assert TABLE in (PROJECT / "docs" / "pods.md").read_text()


class Life:
    """One pod's life up to a state, what is lost there, and what follows."""

    def __init__(self, cluster, settings, state, night):
        self.cluster, self.state = cluster, state
        self.folder = settings.home / str(night) / "train"
        self.task = PodTask(settings, "train", night)
        self.point = next((at for words, at in POINTS.items() if words in state), "")
        self.nodes = 0
        self.new_node()

    def new_node(self):
        self.nodes += 1
        self.cluster.add_node(f"node-{self.nodes}")

    def look(self):
        """The pod's document, or None."""
        found = {pod["metadata"]["name"]: pod for pod in self.cluster.pods(support.NAMESPACE)}
        return found.get(self.task.pod)

    def is_over(self):
        pod = self.look()
        return pod is None or pod["status"]["phase"] in ("Succeeded", "Failed")

    # The states --------------------------------------------------------------------------------------

    def prepare(self):
        """Before the pod is made: make sure that it comes no further than its state."""
        self.folder.mkdir(parents=True)
        for point in filter(None, (self.point, "told" if "deleted" in self.state else "")):
            (self.folder / f"hold-{point}").touch()
        if "waiting" in self.state:
            self.cluster.hold_scheduling()
        if "starting" in self.state:
            self.image = self.cluster.images.pop(support.REPOSITORY)

    def reach(self):
        if "waiting" in self.state:
            self.cluster.wait(self.look)
        elif "starting" in self.state:
            self.cluster.wait(lambda: "waiting" in json.dumps(self.look()["status"]))
        elif self.point:
            self.cluster.wait((self.folder / f"at-{self.point}").exists)
        if "deleted" in self.state:
            self.cluster.preempt(self.task.pod, support.NAMESPACE)
            self.cluster.wait((self.folder / "at-told").exists)
        if "over" in self.state:
            self.cluster.wait(self.is_over)

    def leave(self):
        """Nothing keeps the pod, or the one after it, from going on."""
        for file in self.folder.glob("hold-*"):
            file.unlink()
        self.cluster.release_scheduling()
        if "starting" in self.state:
            self.cluster.images[support.REPOSITORY] = self.image

    # Who is lost -------------------------------------------------------------------------------------

    def lose(self, part):
        if not part:
            return self.task.finish(None)
        return getattr(self, f"lose_{part.split()[0].lower()}")()

    def lose_scheduler(self):
        """Its end is seen, and the turn that follows comes late. The cluster has tidied up meanwhile."""
        if "not yet" in self.state:
            with dying(CommandPod, "_create"):  # the worker dies with it, and Airflow takes that for no try
                self.task.turn()
            return self.task.finish(None)
        event = self.watched(self.leave).event()
        self.cluster.wait(self.is_over)
        if self.look():
            self.cluster.delete(self.task.pod, support.NAMESPACE, 0)
        return self.task.finish(None, event)

    def lose_triggerer(self):
        trigger = self.task.turn()
        watch = Watch(trigger)
        self.reach()
        watch.end()
        self.leave()
        self.cluster.wait(self.is_over)
        return self.task.finish(copied(trigger))

    def lose_worker(self):
        """Before it makes the pod, keeps its name, gives the task back, or writes down that it is done."""
        if "over" in self.state:
            with dying(PodRecord, "finish"):
                self.task.turn(self.watched().event())
        else:
            first = {"not yet": (CommandPod, "_create"), "waiting": (PodRecord, "store")}
            where = next((at for words, at in first.items() if words in self.state), (CommandPod, "watch"))
            with dying(*where):
                self.task.turn()
            if where[1] == "watch":
                self.reach()
        self.task.retries += 1  # Airflow takes a lost worker for a failed try
        trigger = self.task.turn()
        self.leave()
        return trigger and self.task.finish(trigger)

    def lose_api(self):
        if "not yet" in self.state:
            self.cluster.lose_answers(1, "POST .*/pods")  # it is made, and nobody knows
            return self.task.finish(self.task.turn())
        watch = self.watched(lambda: self.cluster.api_errors(-1, 503, "/pods"))
        asked = len(self.cluster.requests)
        self.leave()
        self.cluster.wait(lambda: self.is_over() and len(self.cluster.requests) > asked + 1)
        self.cluster.mend()
        event = watch.event()
        self.cluster.api_errors(1, 503, "GET .*/pods")  # and once more, in the turn
        return self.task.finish(None, event)

    def lose_pod(self):
        """Preempted where that can be, otherwise deleted by somebody or at the end of its grace period."""
        event = self.watched(self._take_pod).event()
        self.leave()
        return self.task.finish(None, event)

    def _take_pod(self):
        if any(word in self.state for word in ("waiting", "over", "deleted")):
            self.cluster.delete(self.task.pod, support.NAMESPACE, 0)
        else:
            self.cluster.preempt(self.task.pod, support.NAMESPACE)

    def lose_node(self):
        if "not yet" in self.state:
            self.cluster.node_lost("node-1")
            watch = Watch(self.task.turn())
        else:
            watch = self.watched(lambda: self.cluster.node_lost("node-1"))
        self.leave()
        self.new_node()
        return self.task.finish(None, watch.event())

    def watched(self, then=lambda: None):
        """The pod is in its state and its trigger saw that, unless it is over; `then` happens after that."""
        trigger = self.task.turn()
        watch = None if "over" in self.state else Watch(trigger)
        self.reach()
        if watch:
            asked = self.looks()
            self.cluster.wait(lambda: self.looks() > asked + 1)
        then()
        return watch or Watch(trigger)

    def looks(self):
        return sum(f"/pods/{self.task.pod}" in request for request in [*self.cluster.requests])

    # What came of it ---------------------------------------------------------------------------------

    def found(self):
        """As in the table: how many pods there were, and whether a retry was used up."""
        retry = ", retry" if self.task.retries else ""
        return f"{self.task.store['nightshift_pod']['number']}{retry}"

    def manifest(self):
        return json.loads(Path(self.task.pushed[ANSWER]["manifest_uri"]).read_text())

    def work(self):
        """How often the training began, worked through each epoch, and ended."""
        return Counter((self.folder / "work.txt").read_text().splitlines())

    def interruptions(self):
        return len(self.task.pushed[ANSWER].get("interruptions", ()))


@pytest.fixture(scope="module")
def place():
    """A folder. Not below /tmp: each pod has a /tmp of its own."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="nightshift-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def cluster(place):
    images = support.image(write_program(place / "programs"), STANDIN_HOME=str(place))
    with running_kubernetes(images, nodes={}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def settings(place, cluster):
    profile = support.write_profile(place / "cluster.toml", place, cluster.kubeconfig)
    profile.write_text(profile.read_text().replace("grace_period_s = 2", "grace_period_s = 60"))
    support.furnish(cluster, profile)
    return Settings(place, profile, place, load_config(profile, place))


@pytest.fixture(scope="module")
def live(cluster, settings):
    """Lives a life on a fresh node, and takes away what is left of it."""
    nights = (date(2026, 1, 1) + timedelta(days=number) for number in count())

    def live(state, part):
        life = Life(cluster, settings, state, next(nights))
        life.prepare()
        try:
            life.lose(part)
            cluster.wait(lambda: not cluster.pods(support.NAMESPACE), 30)  # none is left over
        finally:
            life.leave()
            cluster.mend()
            for node in range(life.nodes):
                cluster.store.remove(NODES, "", f"node-{node + 1}")
        return life

    return live


@pytest.fixture(scope="module")
def calm(live):
    return live("calm", "")


@pytest.mark.parametrize(
    ("state", "part", "cell"), CELLS, ids=[f"{part}-{state}" for state, part, _ in CELLS]
)
def test_one_training_and_the_same_result(live, calm, state, part, cell):
    life = live(state, part)
    assert life.found() == cell
    assert life.manifest() == calm.manifest()
    again = (
        {"epoch 1": 2} if (part, "without" in state) == ("node", True) else {}
    )  # it had no time to keep it
    work = life.work()
    assert work.pop("start") in (1, int(cell[0]))
    assert work == {**EPOCHS_ONCE, **again}
    deleted = (part, "waiting" in state) == ("pod", True)  # by somebody, so that was none
    assert life.interruptions() == int(cell[0]) - 1 - deleted
