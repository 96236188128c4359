"""Runs a command in a pod, and decides what follows from the pod's end.

A task has one pod at a time, with a name that follows from the task and a number, so whoever begins anew
after a crash finds it. The command's result is a document in the shared folder, under the pod's own UID;
without it no pod has succeeded.
"""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRescheduleException
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from nightshift.launchers import FAULT_PREFIX, Command, Ended, Log
from nightshift.launchers.pods.document import Owner, document, pod_name
from nightshift.launchers.pods.operator import CommandPod, message_of, uid_of
from nightshift.launchers.pods.record import PodRecord
from nightshift.settings import Settings
from pipelines.core.config import Config
from pipelines.core.errors import NightshiftError, UnavailableError
from pipelines.core.pods.faults import no_result, why
from pipelines.core.pods.refused import refused
from pipelines.core.pods.status import Document, Next, PodFault, at, terminated
from pipelines.stores import open_shared
from pipelines.stores.retention import RESULTS

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.stores.blobs import Folder

RETRY, MEND = 1, 2  # exit statuses, as the commands have them
ROOM_S = 30.0  # until a pod that a quota had no room for is tried again
RESUME = "resume"  # the operator's method that goes on after the trigger


class PodLauncher:
    """A `Launcher`. It gives the task back while the pod runs."""

    def __init__(self, settings: Settings) -> None:
        self._config = settings.config
        self._task: CommandPod | None = None

    def run(
        self, command: Command, log: Log, context: Context | None = None, event: dict[str, Any] | None = None
    ) -> Ended:
        assert context is not None
        self._task = task = CommandPod(pods=self._config.pods.of(command.words[0]))
        steps = _Steps(self._config, task, command, log, context)
        try:
            return steps.go_on(event) if event else steps.begin()
        except ApiException as error:
            fault = refused(steps.name, task.pods.namespace, error.status or 0, message_of(error))
            return steps.failed(fault)
        except HTTPError as error:
            problem = f"Kubernetes does not answer ({error})."
            return steps.failed(PodFault("api", problem, "Look after its API server or pods.kubeconfig."))
        except NightshiftError as error:  # the result cannot be read: another try looks at the same pod again
            helps = Next.RETRY if isinstance(error, UnavailableError) else Next.MEND
            return steps.failed(PodFault("result", error.problem, error.remedy, helps))

    def stop(self) -> None:
        if self._task:
            self._task.on_kill()


class _Steps:
    """What one try of a task does with its pods."""

    def __init__(
        self, config: Config, task: CommandPod, command: Command, log: Log, context: Context
    ) -> None:
        self._config, self._task, self._command = config, task, command
        self._log, self._context = log, context
        ti = context["ti"]
        self._owner = Owner(
            ti.dag_id, command.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index
        )
        self._since = time.time()
        self._interruptions: tuple[str, ...] = ()
        self.name = self._name(1)

    def begin(self) -> Ended:
        """Take up the pod of a try that was cut short, or make the first one."""
        record = PodRecord.stored(self._context)
        if record is None or record.done:
            return self._next(
                PodRecord(name="", uid="", number=record.number if record else 0, since=time.time())
            )
        if record.waits_since:
            return self._next(record)
        self._task.current = record
        pod = self._task.own(record)
        if pod is None and self._result(record) is None:
            return self._next(record)  # the pod went while nobody looked
        self._log.info("Pod %s of an earlier try is taken up again.", record.name)
        if pod is not None and not terminated(pod):
            self._task.watch(record, RESUME)
        return self.go_on({"record": record.as_json(), "seen": pod or {}, "waited_s": 0.0})

    def go_on(self, event: dict[str, Any]) -> Ended:
        """Decide what follows, after the trigger saw that the pod needs it."""
        record, seen = PodRecord.model_validate(event["record"]), event["seen"]
        seen = seen or {"metadata": {"name": record.name}}
        self.name, self._since, self._interruptions = record.name, record.since, record.interruptions
        self._task.current = record
        pod = self._task.own(record)
        if pod is not None and at_work(pod):
            self._task.write_log(record.name, event.get("last_log_time"))
        result = self._result(record)
        if result is not None:
            return self._finish(record, Ended(0, "", result, record.since, time.time(), record.interruptions))
        fault = why(pod, self._task.events(record.name), seen, event["waited_s"])
        if fault and fault.next is Next.GO_ON:
            return self._again(record, fault, pod or seen)
        return self._finish(record, self.failed(fault) if fault else self._own_end(record, pod or seen))

    def failed(self, fault: PodFault) -> Ended:
        status = MEND if fault.next is Next.MEND else RETRY
        return Ended(status, f"{FAULT_PREFIX}{fault}", None, self._since, time.time(), self._interruptions)

    def _again(self, record: PodRecord, fault: PodFault, pod: Document) -> Ended:
        """The next pod goes on, or too many were taken away."""
        most, times = self._task.pods.max_interruptions, len(record.interruptions) + 1
        if times > most:
            remedy = f"It was interruption {times} of this task, and pods.max_interruptions allows {most}. "
            remedy += "Give it nodes that stay (pods.node_selector) or a higher pods.priority_class."
            return self._finish(record, self.failed(PodFault(fault.kind, fault.problem, remedy)))
        ran_s = _ran_s(pod)
        after = f", after {ran_s:.0f} s" if ran_s else ""
        sentence = f"{fault.problem[:-1]}{after}; a new pod went on."
        self._log.info("%s", sentence)
        self._task.remove(record.name)
        return self._next(record.interrupted(sentence))

    def _next(self, before: PodRecord) -> Ended:
        """Make the pod with the next number and watch it."""
        number = before.number + 1
        while True:
            self.name, uid = self._name(number), uuid.uuid4().hex
            try:
                pod = self._task.make(self._document(uid), self._context)
            except ApiException as error:
                self._wait_for_room(before, error)
                raise
            if not pod["metadata"].get("deletionTimestamp"):
                break
            number += 1  # an old one of this name is still going
        known = {"name": self.name, "uid": uid_of(pod), "number": number, "waits_since": 0.0}
        record = before.model_copy(update=known)
        self._task.current = record
        record.store(self._context)
        self._log.info("Pod %s runs the command.", self.name)
        self._task.watch(record, RESUME)
        raise AssertionError("watch defers the task")

    def _wait_for_room(self, before: PodRecord, error: ApiException) -> None:
        """Put the task back for a while where a quota is used up, at times by the pod that was just taken.

        Raises AirflowRescheduleException, and returns where the error is another one or the wait was long.
        """
        fault = refused(self.name, self._task.pods.namespace, error.status or 0, message_of(error))
        if fault.kind != "quota":
            return
        now = time.time()
        since = before.waits_since or now
        if now - since > self._task.pods.schedule_timeout_s:
            before.finish(self._context)
            return
        self._log.info("%s", fault)
        before.model_copy(update={"waits_since": since}).store(self._context)
        raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=ROOM_S))

    def _own_end(self, record: PodRecord, pod: Document) -> Ended:
        """The command ended by itself: its exit status, and its fault or last line."""
        end = terminated(pod)
        status = int(end.get("exitCode", 0))
        if status == 0:
            return self.failed(no_result(pod, f"{self._folder.uri}/{self._place(record.uid)}"))
        said = str(end.get("message") or "") or self._task.log_tail(record.name)
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        fault = next((line for line in lines if line.startswith(FAULT_PREFIX)), None)
        last = fault or (lines[-1] if lines else "")
        return Ended(status, last, None, record.since, time.time(), record.interruptions)

    def _finish(self, record: PodRecord, ended: Ended) -> Ended:
        """The pod was dealt with. A crash after this line makes another one, which finds the step done."""
        record.finish(self._context)
        try:
            self._task.remove(record.name)
        except (ApiException, HTTPError) as error:
            self._log.info("Pod %s cannot be deleted now, so the reaper will: %s", record.name, error)
        self._task.current = None
        return ended

    def _result(self, record: PodRecord) -> bytes | None:
        place = self._place(record.uid)
        return self._folder.read_many([place]).get(place)

    @property
    def _folder(self) -> Folder:
        return open_shared(self._config)

    def _place(self, uid: str) -> str:
        return f"{RESULTS}/{self._owner.digest(self._config)}/{uid}.json"

    def _name(self, number: int) -> str:
        return pod_name(self._command.words[0], self._owner, self._config, number)

    def _document(self, uid: str) -> Document:
        result = f"{self._folder.uri}/{self._place(uid)}"
        return document(self._command, self._owner, self._config, self.name, uid, result)


def at_work(pod: Document) -> bool:
    """Whether the command began, so that there is a log."""
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    return any("running" in one.get("state", {}) or "terminated" in one.get("state", {}) for one in statuses)


def _ran_s(pod: Document) -> float:
    """How long a pod ran, in seconds, as far as its status says; 0 where it says nothing."""
    end = terminated(pod)
    began = at(end.get("startedAt")) or at(pod.get("status", {}).get("startTime"))
    return max(0.0, (at(end.get("finishedAt")) or time.time()) - began) if began else 0.0
