"""Who is lost at which moment of a pod's life: one training, the same result, and what it costs.

TABLE is the one in docs/pods.md. Each cell says how many pods the task needed, and whether it used a retry.
"""

import tempfile
from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest
from nightshift.settings import Settings

from pipelines.core.config import load_config
from tests.dags.pod_life import Life
from tests.dags.pod_tasks import Watch, copied
from tests.support import pods as support
from tests.support.kubernetes import running_kubernetes
from tests.support.kubernetes.resources import EVENTS, NODES
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


def test_the_table_is_the_one_in_the_docs():
    assert TABLE in (PROJECT / "docs" / "pods.md").read_text()


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


@pytest.mark.parametrize("expired", [False, True], ids=["events", "no events"])
def test_a_node_lost_while_no_triggerer_runs_costs_no_retry(cluster, settings, expired):
    """The pod is gone when somebody looks again; its events say why for as long as Kubernetes keeps them."""
    life = Life(cluster, settings, "at work, after a checkpoint", date(2027, 1, 1 + expired))
    life.prepare()
    trigger = life.task.turn()
    watch = Watch(trigger)
    life.reach()
    watch.end()
    cluster.node_lost("node-1")
    life.new_node()
    life.leave()
    for event in cluster.store.all(EVENTS, support.NAMESPACE) if expired else ():
        cluster.store.remove(EVENTS, support.NAMESPACE, event["metadata"]["name"])
    life.task.finish(copied(trigger))
    for node in range(life.nodes):
        cluster.store.remove(NODES, "", f"node-{node + 1}")
    assert life.found() == "2"
    assert life.interruptions() == 1
