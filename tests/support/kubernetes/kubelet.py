"""One thread a pod: starts its containers, watches them, writes its status and ends it."""

from __future__ import annotations

import threading
import time
from typing import Any

from tests.support.kubernetes import volumes
from tests.support.kubernetes.podstatus import qos, set_condition, summarize
from tests.support.kubernetes.quantities import amount
from tests.support.kubernetes.recorder import record
from tests.support.kubernetes.records import Record
from tests.support.kubernetes.resources import PODS
from tests.support.kubernetes.starting import Node, last_words, start
from tests.support.kubernetes.status import ApiError
from tests.support.kubernetes.store import Thing, now

TICK_S = 0.05


class PodWorker(threading.Thread):
    """The life of one pod on its node."""

    def __init__(self, node: Node, pod: Thing, address: str) -> None:
        super().__init__(name=f"pod-{pod['metadata']['name']}", daemon=True)
        self.node, self.pod = node, pod
        self.namespace, self.pod_name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        self.uid = pod["metadata"]["uid"]
        self.address = address
        spec = pod["spec"]
        inits = spec.get("initContainers") or []
        waiting = "PodInitializing" if inits else "ContainerCreating"
        self.inits = [Record(container, True, waiting) for container in inits]
        self.mains = [Record(container, False, waiting) for container in spec["containers"]]
        self.records = self.inits + self.mains
        self.phase = "Pending"
        self.failure: tuple[str, str] | None = None  # reason and message of a pod that is ended as a whole
        self.disruption: tuple[str, str] | None = None
        self.gone = threading.Event()  # the pod's object or its node is no more
        self.lost = (
            threading.Event()
        )  # the node no longer speaks: its containers are over, nothing is written
        self.error: BaseException | None = None
        self._folders: dict[str, str] | None = None
        self._mount_at = 0.0
        self._began = time.monotonic()
        self._stop_at: float | None = None
        self._start_time = now()

    # What happens from outside ---------------------------------------------------------------------

    def fail(self, reason: str, message: str, disruption: tuple[str, str] | None = None) -> None:
        """End the pod as a whole (evicted, deadline)."""
        self.failure, self.disruption = (reason, message), disruption

    def oom(self, container: str) -> None:
        """Kill a running container as the kernel does when its memory is over."""
        one = next(one for one in self.records if one.name == container)
        assert one.process, f"{container} does not run"
        one.killed_as = "OOMKilled"
        one.process.kill()

    # The loop --------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._publish()
            while not self.gone.is_set() and not self._tick():
                self.gone.wait(TICK_S)
        except ApiError as error:
            if error.code != 404:  # somebody removed the pod at this moment
                self.error = error
        except BaseException as error:  # noqa: BLE001 - the test that uses the double raises it
            self.error = error
        finally:
            self._end_processes()
            self.gone.set()

    def _end_processes(self) -> None:
        for one in self.records:
            if one.process:
                one.process.kill()
        for one in self.records:
            while one.process and one.process.poll() is None:
                time.sleep(0.01)
            if one.log:
                one.log.end()

    def _tick(self) -> bool:
        """One look at everything; true once the pod is over."""
        pod = self.node.store.peek(PODS, self.namespace, self.pod_name)
        if self.lost.is_set() or pod is None or pod["metadata"]["uid"] != self.uid:
            return True
        deleted = "deletionTimestamp" in pod["metadata"]
        self._check_deadline(pod)
        self._reap()
        if deleted or self.failure:
            return self._stopping(pod, deleted)
        if not self._mounted():
            return False
        self._start_next()
        self._publish()
        return self.phase in ("Succeeded", "Failed")

    def _check_deadline(self, pod: Thing) -> None:
        limit_s = pod["spec"].get("activeDeadlineSeconds")
        if limit_s and not self.failure and time.monotonic() - self._began > limit_s:
            text = "Pod was active on the node longer than the specified deadline"
            record(self.node.store, self.pod, "DeadlineExceeded", text)
            self.failure = "DeadlineExceeded", text

    def _reap(self) -> None:
        for one in self.records:
            if not one.process:
                continue
            code = one.process.poll()
            if code is not None:
                one.ended(code, message=last_words(one))
                continue
            limit = ((one.container.get("resources") or {}).get("limits") or {}).get("memory")
            if limit and one.process.memory_bytes() > amount(limit):
                one.killed_as = "OOMKilled"
                one.process.kill()

    def _mounted(self) -> bool:
        if self._folders is not None:
            return True
        if time.monotonic() < self._mount_at:
            return False
        folder = self.node.folder / self.uid / "volumes"
        try:
            self._folders = volumes.mount(self.node.store, self.pod, folder, self.node.claims)
        except volumes.NotReady as error:
            self._mount_at = time.monotonic() + self.node.back_off_s
            record(self.node.store, self.pod, "FailedMount", str(error), "Warning")
            self._publish()
            return False
        return True

    def _start_next(self) -> None:
        policy = self.pod["spec"]["restartPolicy"]
        for one in self.inits:
            if one.exit_code == 0:
                continue
            self._start_or_restart(one, "OnFailure" if policy == "Always" else policy)
            return
        for one in self.mains:
            self._start_or_restart(one, policy)

    def _start_or_restart(self, one: Record, policy: str) -> None:
        assert self._folders is not None
        if one.exit_code is not None and (policy == "Always" or (policy == "OnFailure" and one.exit_code)):
            one.last, one.previous = one.state, one.log
            who = f"{self.pod_name}_{self.namespace}({self.uid})"
            text = f"Back-off restarting failed container {one.name} in pod {who}"
            record(self.node.store, self.pod, "BackOff", text, "Warning", container=one.path)
            delay_s = self.node.back_off_s * min(2**one.restarts, 30)
            one.wait(
                "CrashLoopBackOff",
                f"back-off {int(10 * 2 ** min(one.restarts, 5))}s {text[9:].lower()}",
                delay_s,
            )
            one.crashed = True
        if "waiting" in one.state and time.monotonic() >= one.retry_at:
            start(self.node, self.pod, one, self._folders)

    def _stopping(self, pod: Thing, deleted: bool) -> bool:
        """Stop all containers; at last write the pod's end and, when it was deleted, let it go."""
        running = [one for one in self.records if one.process]
        grace_s = pod["metadata"].get("deletionGracePeriodSeconds") if deleted else None
        if grace_s is None:
            grace_s = (
                1
                if self.failure and self.failure[0] == "Evicted"
                else pod["spec"]["terminationGracePeriodSeconds"]
            )
        if self._stop_at is None:
            self._stop_at = time.monotonic()
            for one in running:
                record(
                    self.node.store, self.pod, "Killing", f"Stopping container {one.name}", container=one.path
                )
                assert one.process
                one.process.stop()
        if time.monotonic() - self._stop_at > grace_s:
            for one in running:
                assert one.process
                one.process.kill()
        if running:
            return False
        self._publish(over=True)
        if deleted:
            self.node.store.let_go(PODS, self.namespace, self.pod_name)
            return True
        return False if "deletionTimestamp" in pod["metadata"] else self.failure is not None

    # Status ----------------------------------------------------------------------------------------

    def _current_phase(self, over: bool) -> str:
        if self.failure:
            return "Failed"
        policy = self.pod["spec"]["restartPolicy"]
        failed_init = policy == "Never" and any(one.exit_code for one in self.inits)
        codes = [one.exit_code for one in self.mains]
        if over:
            return "Succeeded" if not any(code != 0 for code in codes) else "Failed"
        if failed_init:
            return "Failed"
        if any("running" in one.state or one.last for one in self.mains):
            return "Running"
        if all(code is not None for code in codes):
            if policy == "Never" or (policy == "OnFailure" and not any(codes)):
                return "Failed" if any(codes) else "Succeeded"
            return "Running"
        return "Running" if any(code is not None for code in codes) else "Pending"

    def _publish(self, over: bool = False) -> None:
        self.phase = self._current_phase(over)
        self.node.store.update(PODS, self.namespace, self.pod_name, self._write_status)

    def _write_status(self, pod: Thing) -> None:
        status: dict[str, Any] = pod.setdefault("status", {})
        status |= {
            "phase": self.phase,
            "hostIP": "10.0.0.1",
            "hostIPs": [{"ip": "10.0.0.1"}],
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "startTime": self._start_time,
            "qosClass": qos(pod),
            "containerStatuses": [one.status() for one in self.mains],
        }
        if self.inits:
            status["initContainerStatuses"] = [one.status() for one in self.inits]
        if self.failure:
            status["reason"], status["message"] = self.failure
        if self.disruption:
            set_condition(pod, "DisruptionTarget", "True", *self.disruption)
        unready = " ".join(one.name for one in self.mains if "running" not in one.state)
        set_condition(pod, "PodReadyToStartContainers", "True")
        summarize(pod, unready, done=self.phase in ("Succeeded", "Failed"))
