"""One pod's life up to a state, who is lost there, and what follows: the cells of test_pod_matrix."""

import json
from collections import Counter
from pathlib import Path

from nightshift.launchers.pods.operator import CommandPod
from nightshift.launchers.pods.record import PodRecord
from nightshift.operators.command import ANSWER

from tests.dags.pod_tasks import PodTask, Watch, copied, dying
from tests.support import pods as support

# Where the training waits, so that the pod stays as it is.
POINTS = {"without": "epoch-2", "after a": "epoch-3", "result": "result", "deleted": "epoch-3"}


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
