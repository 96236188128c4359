"""Whether a namespace's objects admit a pod: Pod Security, limits, quotas and what the pod refers to.

Each function returns what is wrong, a sentence each; nothing for a pod that is admitted.
"""

from __future__ import annotations

from typing import Any

from tests.support.kubernetes.quantities import amount, requests
from tests.support.overlays import Object, containers, of_kind, refers_to

# The level `restricted` of Kubernetes' Pod Security Standards, version 1.30.
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
}  # fmt: skip
SECCOMP = ("RuntimeDefault", "Localhost")
BOUNDED = ("cpu", "memory")  # what a quota makes every container say


def not_restricted(pod: Object) -> list[str]:
    """Where a pod asks for more than the level `restricted` allows."""
    spec, found = pod["spec"], []
    found += [f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    for volume in spec.get("volumes", ()):
        found += [f"volume {volume['name']} is a {kind}" for kind in volume.keys() - VOLUMES - {"name"}]
    for one in containers(pod):
        own = one.get("securityContext", {})
        both = {**spec.get("securityContext", {}), **own}
        found += [f"{one['name']}: {said}" for said in _of_container(one, own, both)]
    return found


def _of_container(one: Object, own: Object, both: Object) -> list[str]:
    capabilities = own.get("capabilities", {})
    wrong = {
        "privileged": own.get("privileged", False),
        "allowPrivilegeEscalation is not false": own.get("allowPrivilegeEscalation") is not False,
        "capabilities are not dropped": "ALL" not in capabilities.get("drop", ()),
        "a capability is added": bool({*capabilities.get("add", ())} - {"NET_BIND_SERVICE"}),
        "runAsNonRoot is not true": both.get("runAsNonRoot") is not True,
        "runs as root": both.get("runAsUser") == 0,
        "no seccomp profile": both.get("seccompProfile", {}).get("type") not in SECCOMP,
        "a port of the host": any("hostPort" in port for port in one.get("ports", ())),
        "procMount": own.get("procMount", "Default") != "Default",
    }
    return [said for said, is_wrong in wrong.items() if is_wrong]


def beyond_limits(pod: Object, objects: list[Object]) -> list[str]:
    """What a LimitRange does not admit: more than the most of a container, or of a volume's claim."""
    found = []
    for limits in of_kind(_near(pod, objects), "LimitRange").values():
        for rule in limits["spec"]["limits"]:
            asked = _claims(pod) if rule["type"] == "PersistentVolumeClaim" else _limits(pod)
            for name, most in rule.get("max", {}).items():
                found += [
                    f"{who}: {one[name]} of {name} is more than {most}"
                    for who, one in asked.items()
                    if name in one and amount(one[name]) > amount(most)
                ]
    return found


def beyond_quotas(pod: Object, objects: list[Object]) -> list[str]:
    """What an empty namespace's quotas do not admit: amounts that are not said, or larger than a quota."""
    found, total = [], {"pods": amount("1")}
    for side in ("requests", "limits"):
        total |= {f"{side}.{name}": number for name, number in requests(pod, side).items()}
    for quota in quotas_of(pod, objects):
        title = quota["metadata"]["name"]
        for key, most in quota["spec"]["hard"].items():
            side, _, name = key.partition(".")
            if name in BOUNDED:
                found += [
                    f"{title}: {one['name']} does not say {key}"
                    for one in containers(pod)
                    if name not in one["resources"].get(side, {})
                ]
            if total.get(key, 0) > amount(most):
                found.append(f"{title}: {total[key]} of {key} is more than {most}")
    return found


def quotas_of(pod: Object, objects: list[Object]) -> list[Object]:
    """The quotas that count a pod."""
    quotas = of_kind(_near(pod, objects), "ResourceQuota").values()
    return [quota for quota in quotas if _is_counted(pod, quota["spec"])]


def _is_counted(pod: Object, quota: Object) -> bool:
    for scope in quota.get("scopeSelector", {}).get("matchExpressions", ()):
        assert (scope["scopeName"], scope["operator"]) == ("PriorityClass", "In")
        if pod["spec"].get("priorityClassName") not in scope["values"]:
            return False
    return True


def missing(pod: Object, objects: list[Object]) -> list[str]:
    """What a pod refers to that is not there."""
    near = _near(pod, objects)
    there = {("Secret", name) for name in of_kind(near, "Secret", "ExternalSecret")}
    there |= {("ConfigMap", name) for name in of_kind(near, "ConfigMap")}
    found = {f"{kind} {name}" for kind, name in refers_to(pod) - there}
    account, priority = pod["spec"]["serviceAccountName"], pod["spec"].get("priorityClassName")
    if account not in of_kind(near, "ServiceAccount"):
        found.add(f"ServiceAccount {account}")
    if priority and priority not in of_kind(objects, "PriorityClass"):
        found.add(f"PriorityClass {priority}")
    return sorted(found)


def _near(pod: Object, objects: list[Object]) -> list[Object]:
    return [thing for thing in objects if thing["metadata"].get("namespace") == pod["metadata"]["namespace"]]


def _limits(pod: Object) -> dict[str, dict[str, Any]]:
    return {one["name"]: one["resources"].get("limits", {}) for one in containers(pod)}


def _claims(pod: Object) -> dict[str, dict[str, Any]]:
    return {
        volume["name"]: volume["ephemeral"]["volumeClaimTemplate"]["spec"]["resources"]["requests"]
        for volume in pod["spec"].get("volumes", ())
        if "ephemeral" in volume
    }
