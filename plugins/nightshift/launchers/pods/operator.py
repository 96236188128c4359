"""A thin `KubernetesPodOperator`: makes, reads and deletes one command's pod, and hands it to the trigger.

What follows from a pod's end is decided by `launcher`, since the provider takes a pod that is gone for a
success, and waits without an end for one on a lost node.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import tenacity
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from nightshift.launchers.pods.document import UID
from nightshift.launchers.pods.logs import new_lines, since_s
from nightshift.launchers.pods.record import PodRecord
from nightshift.launchers.pods.trigger import CommandPodTrigger
from pipelines.core.config import Pods
from pipelines.core.pods.status import STEP, Document

if TYPE_CHECKING:
    from airflow.sdk import Context

BUSY = (429, 500, 502, 503, 504)
NOT_FOUND, EXISTS = 404, 409
TAIL_LINES = 50
AWAY_S = 120.0  # a request is tried for so long


def _may_pass(error: BaseException) -> bool:
    return error.status in BUSY if isinstance(error, ApiException) else isinstance(error, HTTPError)


patiently = tenacity.retry(
    stop=tenacity.stop_after_delay(AWAY_S),
    wait=tenacity.wait_exponential(max=10),
    retry=tenacity.retry_if_exception(_may_pass),
    reraise=True,
)


class CommandPod(KubernetesPodOperator):
    """The pods of one task, one after the other. Made inside a running task, so no DAG knows it."""

    def __init__(self, *, pods: Pods, **kwargs: Any) -> None:
        super().__init__(
            task_id="pod",
            namespace=pods.namespace,
            kubernetes_conn_id=None,
            config_file=pods.kubeconfig or None,
            in_cluster=None if pods.kubeconfig else True,
            base_container_name=STEP,
            random_name_suffix=False,
            deferrable=True,
            do_xcom_push=False,
            on_finish_action="delete_pod",
            on_kill_action="delete_pod",
            **kwargs,
        )
        self.pods = pods
        self.current: PodRecord | None = None  # what `on_kill` ends

    def make(self, document: Document, context: Context) -> Document:
        """Create the pod, or take the one of its name. Raises ApiException where it is refused."""
        self.pod_template_dict = dict(document)
        request = self.build_pod_request_obj(context)
        body = self.client.api_client.sanitize_for_serialization(request)
        try:
            return self._create(body)
        except ApiException as error:
            if error.status != EXISTS:
                raise
        found = self.look(str(body["metadata"]["name"]))
        return found if found is not None else self.make(document, context)  # it went meanwhile

    @patiently
    def _create(self, body: dict[str, Any]) -> Document:
        return self._plain(self.client.create_namespaced_pod(self.pods.namespace, body))

    @patiently
    def look(self, name: str) -> Document | None:
        """The pod of this name; None where there is none."""
        try:
            return self._plain(self.client.read_namespaced_pod(name, self.pods.namespace))
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise
            return None

    @patiently
    def labelled(self, selector: str) -> list[Document]:
        """The pods that a selector of labels finds."""
        found = self.client.list_namespaced_pod(self.pods.namespace, label_selector=selector)
        return [self._plain(pod) for pod in found.items]

    def own(self, record: PodRecord) -> Document | None:
        """The record's pod; None where it is gone, or another one took its name."""
        found = self.look(record.name)
        return found if found and uid_of(found) == record.uid else None

    @patiently
    def events(self, name: str) -> list[Document]:
        """The pod's events."""
        selector = f"involvedObject.name={name}"
        found = self.client.list_namespaced_event(self.pods.namespace, field_selector=selector)
        return [self._plain(event) for event in found.items]

    @patiently
    def remove(self, name: str, grace_s: int | None = None) -> None:
        """Delete the pod; one that is gone is deleted already."""
        try:
            self.client.delete_namespaced_pod(name, self.pods.namespace, grace_period_seconds=grace_s)
        except ApiException as error:
            if error.status != NOT_FOUND:
                raise

    def write_log(self, name: str, until: str | None) -> None:
        """Log what the pod printed after that time."""
        last = datetime.fromisoformat(until) if until else None
        text = self._log_of(name, timestamps=True, since_seconds=since_s(last, datetime.now(UTC)))
        for _, line in new_lines(text.splitlines(), last):
            self.log.info("%s", line)

    def log_tail(self, name: str) -> str:
        """The last lines that the pod printed."""
        return self._log_of(name, tail_lines=TAIL_LINES)

    def _log_of(self, name: str, **how: Any) -> str:
        """A log that cannot be read is not worth a fault."""
        try:
            found = self.client.read_namespaced_pod_log(
                name, self.pods.namespace, container=STEP, _preload_content=False, **how
            )
            return found.data.decode(errors="replace")
        except (ApiException, HTTPError) as error:
            words = message_of(error) if isinstance(error, ApiException) else error
            self.log.warning("The pod's log cannot be read: %s", words)
            return ""

    def watch(self, record: PodRecord, method_name: str, last_log_time: str | None = None) -> None:
        """Give the task back until the pod needs it. Raises TaskDeferred."""
        self.current = record
        trigger = CommandPodTrigger(
            record=record.as_json(), pods=self.pods.model_dump(mode="json"), last_log_time=last_log_time
        )
        self.defer(trigger=trigger, method_name=method_name)

    def on_kill(self) -> None:
        self._killed = True
        if self.current:
            self.remove(self.current.name, self.pods.kill_grace_s)

    def _plain(self, thing: Any) -> Document:
        return self.client.api_client.sanitize_for_serialization(thing)


def uid_of(pod: Document) -> str:
    """Our own identifier of a pod."""
    return str(pod["metadata"].get("labels", {}).get(UID, ""))


def message_of(error: ApiException) -> str:
    """What the API server said; a proxy in between answers with other texts."""
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.body or error.reason or "")
