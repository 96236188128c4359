"""Airflow's servers, each of which can be killed and started again, and random kills of a night's parts."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil
from nightshift.local import instance as machine
from nightshift.local.environment import airflow_environment
from nightshift.local.guard import _commands
from nightshift.processes import dies_with_parent
from nightshift.settings import Settings

from tests.support.airflow_parts import HURRY
from tests.support.kubernetes import Kubernetes
from tests.support.kubernetes.resources import NODES
from tests.support.kubernetes.status import ApiError
from tests.support.pods import NAMESPACE

PATIENCE_S = 20.0  # until a pod or a worker works that can be killed


class Servers:
    """Airflow on this machine without its guard, which would end all servers with one of them."""

    def __init__(self, settings: Settings) -> None:
        port = machine.free_port()
        self._environment = airflow_environment(settings, port) | HURRY
        self._environment["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] = "True"
        self._commands = _commands(settings, port, 0)
        self._log = (settings.home / "servers.log").open("ab")
        self._instance = machine.Instance(0, port, 0)
        self.url = self._instance.url
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """The scheduler last: its tasks fail while the API server does not answer yet."""
        for name in sorted(self._commands, key=lambda name: name == "scheduler"):
            if name == "scheduler":
                until(lambda: machine.healthy(self._instance), 180)
            self.start_one(name)

    def start_one(self, name: str) -> None:
        self.running[name] = subprocess.Popen(
            self._commands[name], env=self._environment, stdout=self._log, stderr=self._log,
            start_new_session=True, preexec_fn=dies_with_parent(signal.SIGKILL),
        )  # fmt: skip

    def kill(self, name: str) -> None:
        """SIGKILL for a server and all that it started, as when its machine dies."""
        server = psutil.Process(self.running[name].pid)
        for process in [server, *server.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.running.pop(name).wait()

    def workers(self) -> list[psutil.Process]:
        """The processes that run a task: what the scheduler's own workers have started."""
        scheduler = psutil.Process(self.running["scheduler"].pid)
        own = scheduler.children()
        return [process for process in scheduler.children(recursive=True) if process not in own]

    def stop(self) -> None:
        for name in [*self.running]:
            self.kill(name)
        self._log.close()


class Kills:
    """Random kills; `made` counts them by what was killed."""

    def __init__(self, cluster: Kubernetes, servers: Servers, seed: int) -> None:
        self.cluster, self.servers, self.random = cluster, servers, random.Random(seed)
        self.made: Counter[str] = Counter()
        self._nodes = 1
        self.worker_lost = False  # in this night: a task has one retry, and Airflow uses it for a lost worker
        self._kinds: dict[str, tuple[int, Callable[[], bool]]] = {  # how often among the others
            "pod preempted": (6, self._preempt),
            "pod evicted": (6, self._evict),
            "node lost": (4, self._node),
            "API server answers 503": (4, self._api),
            "watches cut": (3, self._cut),
            "log lost": (2, self._log),
            "triggerer": (2, lambda: self._server("triggerer")),
            "scheduler, with its workers": (1, self._scheduler),
            "worker": (2, self._worker),
        }

    def make(self) -> str:
        """One kill; what was killed, or nothing where there was nothing of that kind."""
        weights = [weight for weight, _ in self._kinds.values()]
        (kind,) = self.random.choices([*self._kinds], weights)
        try:
            done = self._kinds[kind][1]()
        except ApiError as error:  # its pod ended just then
            if error.code != 404:
                raise
            return ""
        self.made[kind] += done
        return kind if done else ""

    def _pod(self) -> str:
        """A pod that somebody may take away, once there is one."""
        try:
            return self.random.choice(self.cluster.wait(self._working, PATIENCE_S))
        except TimeoutError:
            return ""

    def _working(self) -> list[str]:
        return [
            pod["metadata"]["name"]
            for pod in self.cluster.pods(NAMESPACE)
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def _preempt(self) -> bool:
        if name := self._pod():
            self.cluster.preempt(name, NAMESPACE)
        return bool(name)

    def _evict(self) -> bool:
        if name := self._pod():
            self.cluster.evict(name, "The node was low on resource: memory.", NAMESPACE)
        return bool(name)

    def _node(self) -> bool:
        if not self._pod():
            return False
        lost, self._nodes = f"node-{self._nodes}", self._nodes + 1
        self.cluster.add_node(f"node-{self._nodes}")
        self.cluster.node_lost(lost)
        self.cluster.store.remove(NODES, "", lost)
        return True

    def _api(self) -> bool:
        self.cluster.api_errors(-1, 503)
        time.sleep(self.random.uniform(1, 6))
        self.cluster.mend()
        return True

    def _cut(self) -> bool:
        self.cluster.cut_watches()
        return True

    def _log(self) -> bool:
        if name := self._pod():
            self.cluster.log_gap(name, namespace=NAMESPACE)
        return bool(name)

    def _server(self, name: str) -> bool:
        self.servers.kill(name)
        self.servers.start_one(name)
        return True

    def _scheduler(self) -> bool:
        if self.worker_lost:
            return False
        self.worker_lost = True
        return self._server("scheduler")

    def _worker(self) -> bool:
        """A worker lives for a few seconds: while its task makes a pod, and after the pod has ended."""
        end = time.monotonic() + PATIENCE_S
        while not self.worker_lost and time.monotonic() < end:
            if found := self.servers.workers():
                with suppress(psutil.NoSuchProcess):  # its task ended just then
                    self.random.choice(found).kill()
                    self.worker_lost = True
                    return True
            time.sleep(0.1)
        return False


def until(is_so: Callable[[], object], limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < end, f"not within {limit_s:g} s"
        time.sleep(0.2)
