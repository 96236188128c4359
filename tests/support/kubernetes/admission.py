"""What the server checks before it stores a new object: its namespace, names, quota and the rules of pods."""

from __future__ import annotations

import re
from decimal import Decimal

from tests.support.kubernetes import scheduler
from tests.support.kubernetes.quantities import amount, plain, requests
from tests.support.kubernetes.resources import BY_PLURAL, NAMESPACES, PODS, Resource
from tests.support.kubernetes.status import ApiError, forbidden, invalid, not_found
from tests.support.kubernetes.store import Store, Thing

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})*")
_RFC = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def check_name(resource: Resource, thing: Thing) -> None:
    """Raise 422 for a missing or malformed name or label. Names of RBAC objects are free."""
    metadata = thing["metadata"]
    name = metadata.get("name") or ""
    if not name and not metadata.get("generateName"):
        cause = ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required")
        raise invalid(resource.kind, resource.group, "", [cause])
    bad_name = name and not resource.group.startswith("rbac.") and not _SUBDOMAIN.fullmatch(name)
    if bad_name or len(name) > 253:
        cause = ("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {_RFC}')
        raise invalid(resource.kind, resource.group, name, [cause])
    for value in (metadata.get("labels") or {}).values():
        if not re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", value) or len(value) > 63:
            text = (
                f'Invalid value: "{value}": a valid label must be an empty string or consist of alphanumeric '
                "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
                "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
                "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            )
            if len(value) > 63:
                text = f'Invalid value: "{value}": must be no more than 63 bytes'
            raise invalid(
                resource.kind, resource.group, name, [("metadata.labels", "FieldValueInvalid", text)]
            )


def check_namespace(store: Store, resource: Resource, thing: Thing) -> None:
    name = thing["metadata"]["namespace"]
    found = store.peek(NAMESPACES, "", name)
    if found is None:
        raise not_found("namespaces", "", name)
    if "deletionTimestamp" in found["metadata"]:
        why = f"unable to create new content in namespace {name} because it is being terminated"
        raise forbidden(resource.plural, resource.group, thing["metadata"].get("name", ""), why)


def check_pod(store: Store, pod: Thing) -> None:
    """The rules of a new pod that our launcher can break: names, classes, accounts, amounts, quota."""
    metadata, spec = pod["metadata"], pod["spec"]
    name = metadata.get("name") or metadata["generateName"]
    _check_containers(pod, name)
    set_priority(store, pod, name)
    runtime = spec.get("runtimeClassName")
    if runtime and store.peek(BY_PLURAL["runtimeclasses"], "", runtime) is None:
        raise forbidden("pods", "", name, f'pod rejected: RuntimeClass "{runtime}" not found')
    account = spec["serviceAccountName"]
    if store.peek(BY_PLURAL["serviceaccounts"], metadata["namespace"], account) is None:
        full = f"{metadata['namespace']}/{account}"
        why = f'error looking up service account {full}: serviceaccount "{account}" not found'
        raise forbidden("pods", "", name, why)
    check_quota(store, pod, name)


def _check_containers(pod: Thing, name: str) -> None:
    spec, seen = pod["spec"], set()
    volumes = {volume["name"] for volume in spec.get("volumes") or []}
    for where in ("initContainers", "containers"):
        for index, one in enumerate(spec.get(where) or []):
            path = f"spec.{where}[{index}]"
            if one["name"] in seen:
                cause = (f"{path}.name", "FieldValueDuplicate", f'Duplicate value: "{one["name"]}"')
                raise invalid("Pod", "", name, [cause])
            seen.add(one["name"])
            if one.get("restartPolicy"):
                raise ApiError(500, "the double runs no sidecar init containers")
            for number, mounted in enumerate(one.get("volumeMounts") or []):
                if mounted["name"] not in volumes:
                    cause = (f"{path}.volumeMounts[{number}].name", "FieldValueNotFound",
                             f'Not found: "{mounted["name"]}"')  # fmt: skip
                    raise invalid("Pod", "", name, [cause])
            _check_amounts(one, path, name)


def _check_amounts(container: Thing, path: str, name: str) -> None:
    limits = container["resources"].get("limits") or {}
    for what, text in (container["resources"].get("requests") or {}).items():
        extended = "/" in what
        if extended and what not in limits:
            cause = (f"{path}.resources.limits", "FieldValueRequired",
                     "Required value: Limit must be set for non overcommitable resources")  # fmt: skip
            raise invalid("Pod", "", name, [cause])
        if what in limits and amount(text) > amount(limits[what]):
            why = f'Invalid value: "{text}": must be less than or equal to {what} limit of {limits[what]}'
            cause = (f"{path}.resources.requests", "FieldValueInvalid", why)
            raise invalid("Pod", "", name, [cause])
        if extended and amount(text) != amount(limits[what]):
            cause = (f"{path}.resources.requests", "FieldValueInvalid",
                     f'Invalid value: "{text}": must be equal to {what} limit of {limits[what]}')  # fmt: skip
            raise invalid("Pod", "", name, [cause])


def set_priority(store: Store, pod: Thing, name: str) -> None:
    """As the admission plugin Priority: the class's number and policy, or the default class's."""
    spec, classes = pod["spec"], BY_PLURAL["priorityclasses"]
    wanted = spec.get("priorityClassName")
    if not wanted:
        wanted = next(
            (one["metadata"]["name"] for one in store.all(classes) if one.get("globalDefault")), None
        )
    found = store.find(classes, "", wanted) if wanted else None
    if wanted and found is None:
        raise forbidden("pods", "", name, f"no PriorityClass with name {wanted} was found")
    if found:
        spec["priorityClassName"] = wanted
    spec["priority"] = found["value"] if found else 0
    spec["preemptionPolicy"] = (found or {}).get("preemptionPolicy", "PreemptLowerPriority")


def _usage(pod: Thing) -> dict[str, Decimal]:
    asks, limits = requests(pod), requests(pod, "limits")
    used = {f"requests.{name}": number for name, number in asks.items()}
    used |= {f"limits.{name}": number for name, number in limits.items()}
    return used | {name: asks[name] for name in ("cpu", "memory") if name in asks} | {"pods": Decimal(1)}


def check_quota(store: Store, pod: Thing, name: str) -> None:
    """Raise 403 where a quota of the namespace has no room. Scopes of quotas are not looked at."""
    namespace = pod["metadata"]["namespace"]
    asked = _usage(pod)
    for quota in store.all(BY_PLURAL["resourcequotas"], namespace):
        hard = {
            key: text
            for key, text in (quota["spec"].get("hard") or {}).items()
            if "/" not in key or "." in key
        }
        limited = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
        unset = sorted(key for key in hard if key in limited and key not in asked)
        title = quota["metadata"]["name"]
        if unset:
            names = ",".join(one["name"] for one in pod["spec"]["containers"])
            texts = "; ".join(f"{key} for: {names}" for key in unset)
            raise forbidden("pods", "", name, f"failed quota: {title}: must specify {texts}")
        used = _used_by(store, namespace)
        over = sorted(
            key for key, text in hard.items()
            if key in asked and used.get(key, Decimal(0)) + asked[key] > amount(text)
        )  # fmt: skip
        if over:
            parts = [
                ",".join(f"{key}={value}" for key, value in pairs)
                for pairs in (
                    [(key, plain(asked[key])) for key in over],
                    [(key, plain(used.get(key, Decimal(0)))) for key in over],
                    [(key, hard[key]) for key in over],
                )
            ]
            why = f"exceeded quota: {title}, requested: {parts[0]}, used: {parts[1]}, limited: {parts[2]}"
            raise forbidden("pods", "", name, why)


def _used_by(store: Store, namespace: str) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for pod in store.all(PODS, namespace):
        if pod["status"]["phase"] not in scheduler.OVER:
            for key, number in _usage(pod).items():
                total[key] = total.get(key, Decimal(0)) + number
    return total


def quota_status(store: Store, quota: Thing) -> Thing:
    """The status that the quota controller writes: what is allowed, and what the pods use of it."""
    hard = quota["spec"].get("hard") or {}
    used = _used_by(store, quota["metadata"]["namespace"])
    return {"hard": hard, "used": {key: plain(used.get(key, Decimal(0))) for key in hard}}


def check_pod_update(old: Thing, new: Thing) -> None:
    """A pod's specification stays, but for the few fields that a server lets be changed."""

    def fixed(pod: Thing) -> Thing:
        free = ("tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds", "schedulingGates")
        spec = {key: value for key, value in pod["spec"].items() if key not in free}
        for where in ("containers", "initContainers"):
            spec[where] = [{**one, "image": ""} for one in spec.get(where) or []]
        if pod["spec"].get("schedulingGates") or old["spec"].get("schedulingGates"):
            spec.pop("nodeSelector", None)  # a queue sets it when it admits a gated pod
            spec.pop("affinity", None)
        return spec

    if fixed(old) != fixed(new):
        text = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
            "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
            "was previously negative)"
        )
        raise invalid("Pod", "", new["metadata"]["name"], [("spec", "FieldValueForbidden", text)])
