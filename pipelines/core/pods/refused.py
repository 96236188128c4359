"""Why the API server refused to make a pod."""

from __future__ import annotations

import re

from pipelines.core.pods.status import Next, PodFault

QUOTA = re.compile(r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+)")
MUST_SPECIFY = re.compile(r"failed quota: ([^:]+): must specify (.+)")
WEBHOOK = re.compile(r'admission webhook "([^"]+)" denied the request:? ?(.*)', re.DOTALL)
LIMITS = re.compile(r"(maximum|minimum) (\S+) usage per (Container|Pod) is (\S+?),")


def refused(name: str, namespace: str, status: int, message: str) -> PodFault:
    """The fault for an answer of the API server: its HTTP status and its message."""
    text = " ".join(message.split())
    if found := QUOTA.search(text):
        quota, asked, used, limited = found.groups()
        problem = f"Quota {quota} of namespace {namespace} has no room for pod {name}: "
        problem += f"it asks for {asked}, {used} is in use, {limited.rstrip('.')} is the limit."
        return PodFault(
            "quota", problem, "Wait until other pods end, raise the quota, or ask for less in [pods]."
        )
    if found := WEBHOOK.search(text):
        problem = f"Admission webhook {found[1]} refused pod {name}: {found[2].rstrip('. ') or 'no reason'}."
        return _mend("admission", problem, "Change [pods] so that it passes, or the policy.")
    if "violates PodSecurity" in text:
        problem = (
            f"Namespace {namespace} refused pod {name}: it {text[text.index('violates') :].rstrip('.')}."
        )
        return _mend(
            "admission", problem, "Lower the namespace's level of Pod Security; Nightshift's fits restricted."
        )
    if found := re.search(r'namespaces "([^"]+)" not found', text):
        return _mend(
            "namespace", f"There is no namespace {found[1]}.", "Create it, or correct pods.namespace."
        )
    if found := re.search(r'serviceaccount "([^"]+)" not found', text):
        problem = f"Namespace {namespace} has no service account {found[1]}."
        return _mend("config", problem, "Create it, or correct pods.service_account.")
    if found := re.search(r"no PriorityClass with name (\S+) was found", text):
        problem = f"There is no PriorityClass {found[1]}."
        return _mend("config", problem, "Create it, or correct pods.priority_class.")
    if found := re.search(r'RuntimeClass "([^"]+)" not found', text):
        problem = f"There is no RuntimeClass {found[1]}."
        return _mend("config", problem, "Create it, or correct pods.runtime_class.")
    if found := LIMITS.search(text):
        problem = f"Namespace {namespace} has a LimitRange: the {found[1]} {found[2]} is {found[4]}."
        return _mend("limits", problem, "Change [pods], or the LimitRange.")
    return _by_status(name, namespace, status, text.rstrip(". "))


def _by_status(name: str, namespace: str, status: int, text: str) -> PodFault:
    if status == 401:
        problem = f"Kubernetes does not know who asks for pod {name} (401 {text})."
        return _mend("access", problem, "Renew the login in pods.kubeconfig, or Airflow's service account.")
    if status == 403:
        problem = f"Airflow may not do that in namespace {namespace} ({text})."
        return _mend(
            "access", problem, "Let its service account create, get, list, watch and delete pods there."
        )
    if status == 422:
        return _mend("invalid", f"Kubernetes does not take pod {name} ({text}).", "Correct [pods].")
    problem = f"Kubernetes did not make pod {name} ({status} {text})."
    return PodFault("api", problem, "Look after the API server and try again.")


def _mend(kind: str, problem: str, remedy: str) -> PodFault:
    return PodFault(kind, problem, remedy, Next.MEND)
