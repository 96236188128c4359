"""Watches a pod until somebody has to act on it, and streams its log meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientError
from airflow.providers.cncf.kubernetes.exceptions import KubernetesApiError
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from airflow.triggers.base import TriggerEvent
from kubernetes_asyncio.client import ApiException, CoreV1Api
from kubernetes_asyncio.watch import Watch

from nightshift.launchers.pods.document import UID
from nightshift.launchers.pods.logs import new_lines, since_s
from pipelines.core.config import Pods
from pipelines.core.pods.status import STEP, Document, phase_of
from pipelines.core.pods.watch import StartLimits, needs_events, waited_s, wants_attention

NOT_FOUND, REFUSED = 404, (401, 403)
LAST_WORDS_S = 3
REFUSED_S = 120.0  # a login that is refused for so long is a fault; it may be renewed meanwhile
AWAY = (ApiException, ClientError, KubernetesApiError, OSError, TimeoutError)


class CommandPodTrigger(KubernetesPodTrigger):
    """Fires once: when the pod ended, is gone, or does not begin in time.

    While the API server is away it goes on asking: the pod has a deadline of its own. A person who ends the
    task ends the pod (`on_kill`, of the provider).
    """

    def __init__(
        self, *, record: dict[str, Any], pods: dict[str, Any], last_log_time: str | None = None
    ) -> None:
        self.record, self.pods = record, Pods.model_validate(pods)
        super().__init__(
            pod_name=record["name"],
            pod_namespace=self.pods.namespace,
            trigger_start_time=datetime.now(UTC),
            base_container_name=STEP,
            poll_interval=self.pods.poll_s,
            in_cluster=None if self.pods.kubeconfig else True,
            termination_grace_period=self.pods.kill_grace_s,
            logging_interval=self.pods.logging_interval_s,
        )
        self.logged_until = datetime.fromisoformat(last_log_time) if last_log_time else None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        until = self.logged_until.isoformat() if self.logged_until else None
        kept = {"record": self.record, "pods": self.pods.model_dump(mode="json"), "last_log_time": until}
        return f"{CommandPodTrigger.__module__}.{CommandPodTrigger.__name__}", kept

    @cached_property
    def hook(self) -> AsyncKubernetesHook:
        file = self.pods.kubeconfig
        config = yaml.safe_load(Path(file).read_text(encoding="utf-8")) if file else None
        return AsyncKubernetesHook(conn_id=None, in_cluster=self.in_cluster, config_dict=config)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        seen: Document = {}
        next_log, good_at = time.monotonic() + self.pods.logging_interval_s, time.monotonic()
        while True:
            try:
                pod = await self._pod()
                good_at = time.monotonic()
            except AWAY as error:
                if not _is_refused(error) or time.monotonic() - good_at < REFUSED_S:
                    self.log.warning("Kubernetes cannot be asked now: %s", error)
                    await asyncio.sleep(self.poll_interval)
                    continue
                pod = None
            if pod is None and seen:
                seen = await self._last_words(seen)
            if pod is None or await self._needs_a_look(pod):
                self._fired_event = True
                yield TriggerEvent(self._event(pod, seen))
                return
            seen = pod
            if time.monotonic() >= next_log:
                await self._log_on(pod)
                next_log = time.monotonic() + self.pods.logging_interval_s
            await asyncio.sleep(self.poll_interval)

    def _event(self, pod: Document | None, seen: Document) -> dict[str, Any]:
        until = self.logged_until.isoformat() if self.logged_until else None
        last = pod or seen
        waited = waited_s(last, time.time()) if last else 0.0
        return {"record": self.record, "seen": last, "last_log_time": until, "waited_s": waited}

    async def _pod(self) -> Document | None:
        """The pod; None where it is gone, or another one took its name."""
        async with self.hook.get_conn() as connection:
            try:
                found = await CoreV1Api(connection).read_namespaced_pod(self.pod_name, self.pod_namespace)
            except ApiException as error:
                if error.status != NOT_FOUND:
                    raise
                return None
            pod = connection.sanitize_for_serialization(found)
        pod["metadata"].pop("managedFields", None)
        return pod if pod["metadata"].get("labels", {}).get(UID) == self.record["uid"] else None

    async def _last_words(self, seen: Document) -> Document:
        """The pod as it was when it went. Its conditions say who took it, and a look may come too late."""
        try:
            async with self.hook.get_conn() as connection, Watch() as watch:
                changes = watch.stream(
                    CoreV1Api(connection).list_namespaced_pod,
                    self.pod_namespace,
                    field_selector=f"metadata.name={self.pod_name}",
                    resource_version=seen["metadata"].get("resourceVersion"),
                    timeout_seconds=LAST_WORDS_S,
                )
                async for change in changes:
                    pod = change["raw_object"]
                    if pod["metadata"].get("labels", {}).get(UID) == self.record["uid"]:
                        seen = pod
                    if change["type"] == "DELETED":
                        break
        except AWAY as error:
            self.log.warning("What the pod was like at its end cannot be read: %s", error)
        return {**seen, "metadata": {k: v for k, v in seen["metadata"].items() if k != "managedFields"}}

    async def _needs_a_look(self, pod: Document) -> bool:
        limits = StartLimits(
            self.pods.schedule_timeout_s, self.pods.startup_timeout_s, self.pods.broken_start_s
        )
        events = await self._events() if needs_events(pod, time.time(), limits) else []
        return wants_attention(pod, events, time.time(), limits)

    async def _events(self) -> list[Document]:
        try:
            async with self.hook.get_conn() as connection:
                found = await CoreV1Api(connection).list_namespaced_event(
                    self.pod_namespace, field_selector=f"involvedObject.name={self.pod_name}"
                )
                return [connection.sanitize_for_serialization(event) for event in found.items]
        except AWAY as error:
            self.log.warning("The pod's events cannot be read now: %s", error)
            return []

    async def _log_on(self, pod: Document) -> None:
        """Log what the pod printed since the last time. A gap is not worth a fault."""
        if phase_of(pod) != "Running":
            return
        try:
            lines = await self.hook.read_logs(
                name=self.pod_name,
                namespace=self.pod_namespace,
                container_name=STEP,
                since_seconds=since_s(self.logged_until, datetime.now(UTC)),
            )
        except AWAY as error:
            self.log.warning("The pod's log cannot be read now: %s", error)
            return
        for self.logged_until, text in new_lines(lines, self.logged_until):  # noqa: B020
            self.log.info("%s", text)


def _is_refused(error: BaseException) -> bool:
    return isinstance(error, ApiException) and error.status in REFUSED
