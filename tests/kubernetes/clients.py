"""Three clients behind one face: `kubernetes`, `kubernetes_asyncio`, kubectl. Objects are plain documents."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes
import kubernetes_asyncio
import yaml

Thing = dict[str, Any]
KUBECTL = Path(sys.executable).with_name("kubectl")


class Refused(Exception):
    """The server said no. `reason` is the Status document's, as NotFound; `text` its message."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason, self.text = reason, text


def _refused(error: Any) -> Refused:
    body = json.loads(error.body)
    assert body["kind"] == "Status"
    assert body["code"] == error.status
    return Refused(body.get("reason", ""), body["message"])


class Sync:
    """The client of KubernetesPodOperator's hook."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.namespace = namespace
        self.api = kubernetes.config.new_client_from_config(kubeconfig)
        self.core = kubernetes.client.CoreV1Api(self.api)

    def _call(self, do: Callable[..., Any], *words: Any, **options: Any) -> Any:
        try:
            return self.api.sanitize_for_serialization(do(*words, **options))
        except kubernetes.client.ApiException as error:
            raise _refused(error) from error

    def create(self, pod: Thing) -> Thing:
        return self._call(self.core.create_namespaced_pod, self.namespace, pod, field_validation="Strict")

    def read(self, name: str) -> Thing:
        return self._call(self.core.read_namespaced_pod, name, self.namespace)

    def list(self, labels: str = "", fields: str = "") -> list[Thing]:
        found = self._call(
            self.core.list_namespaced_pod, self.namespace, label_selector=labels, field_selector=fields
        )
        return found["items"]

    def label(self, name: str, key: str, value: str) -> Thing:
        patch = {"metadata": {"labels": {key: value}}}
        return self._call(self.core.patch_namespaced_pod, name, self.namespace, patch)

    def delete(self, name: str, grace_s: int) -> None:
        self._call(self.core.delete_namespaced_pod, name, self.namespace, grace_period_seconds=grace_s)

    def log(self, name: str, **options: Any) -> str:
        """As `read_namespaced_pod_log` takes it: tail_lines, container, follow, previous, timestamps."""
        try:
            answer = self.core.read_namespaced_pod_log(
                name, self.namespace, _preload_content=False, **options
            )
        except kubernetes.client.ApiException as error:
            raise _refused(error) from error
        return answer.read().decode()

    def events(self, name: str) -> list[Thing]:
        fields = f"involvedObject.name={name}"
        found = self._call(self.core.list_namespaced_event, self.namespace, field_selector=fields)
        return found["items"]


class Async:
    """The client of the deferrable trigger. One loop for each call."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.kubeconfig, self.namespace = kubeconfig, namespace

    def _call(self, name: str, *words: Any, **options: Any) -> Any:
        async def do() -> Any:
            settings = kubernetes_asyncio.client.Configuration()
            await kubernetes_asyncio.config.load_kube_config(self.kubeconfig, client_configuration=settings)
            async with kubernetes_asyncio.client.ApiClient(settings) as api:
                core = kubernetes_asyncio.client.CoreV1Api(api)
                return api.sanitize_for_serialization(await getattr(core, name)(*words, **options))

        try:
            return asyncio.run(do())
        except kubernetes_asyncio.client.ApiException as error:
            raise _refused(error) from error

    def create(self, pod: Thing) -> Thing:
        return self._call("create_namespaced_pod", self.namespace, pod, field_validation="Strict")

    def read(self, name: str) -> Thing:
        return self._call("read_namespaced_pod", name, self.namespace)

    def list(self, labels: str = "", fields: str = "") -> list[Thing]:
        found = self._call(
            "list_namespaced_pod", self.namespace, label_selector=labels, field_selector=fields
        )
        return found["items"]

    def label(self, name: str, key: str, value: str) -> Thing:
        patch = {"metadata": {"labels": {key: value}}}
        return self._call("patch_namespaced_pod", name, self.namespace, patch)

    def delete(self, name: str, grace_s: int) -> None:
        self._call("delete_namespaced_pod", name, self.namespace, grace_period_seconds=grace_s)

    def log(self, name: str, **options: Any) -> str:
        return self._call("read_namespaced_pod_log", name, self.namespace, **options) or ""

    def events(self, name: str) -> list[Thing]:
        fields = f"involvedObject.name={name}"
        return self._call("list_namespaced_event", self.namespace, field_selector=fields)["items"]


class Kubectl:
    """What a person types. The reason of a refusal is read from its words."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self.namespace = namespace
        # Each user's cache of what a server offers is in the home folder.
        self.env = {**os.environ, "KUBECONFIG": kubeconfig, "KUBECACHEDIR": f"{kubeconfig}.cache"}

    def run(self, *words: str, given: str = "") -> str:
        done = subprocess.run(
            [KUBECTL, "-n", self.namespace, *words], env=self.env, input=given, capture_output=True, text=True
        )
        if done.returncode:
            found = re.search(r"rror from server \((\w+)\)", done.stderr)
            reason = found[1] if found else "Invalid" if " is invalid: " in done.stderr else ""
            raise Refused(reason, done.stderr)
        return done.stdout

    def create(self, pod: Thing) -> Thing:
        return json.loads(self.run("create", "-f", "-", "-o", "json", given=yaml.safe_dump(pod)))

    def read(self, name: str) -> Thing:
        return json.loads(self.run("get", "pod", name, "-o", "json"))

    def list(self, labels: str = "", fields: str = "") -> list[Thing]:
        words = [*(["-l", labels] if labels else []), *([f"--field-selector={fields}"] if fields else [])]
        return json.loads(self.run("get", "pods", *words, "-o", "json"))["items"]

    def label(self, name: str, key: str, value: str) -> Thing:
        return json.loads(self.run("label", "pod", name, f"{key}={value}", "-o", "json"))

    def delete(self, name: str, grace_s: int) -> None:
        self.run("delete", "pod", name, f"--grace-period={grace_s}", "--wait=false")

    def log(self, name: str, **options: Any) -> str:
        words = {"tail_lines": "tail"}
        given = [f"--{words.get(key, key)}={str(value).lower()}" for key, value in options.items()]
        return self.run("logs", name, *given)

    def events(self, name: str) -> list[Thing]:
        found = self.run("get", "events", f"--field-selector=involvedObject.name={name}", "-o", "json")
        return json.loads(found)["items"]


Client = Sync | Async | Kubectl
