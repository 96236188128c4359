"""Which node takes a pod, and the sentence of a scheduler that finds none."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from tests.support.kubernetes.podstatus import set_condition
from tests.support.kubernetes.quantities import amount, requests
from tests.support.kubernetes.recorder import record
from tests.support.kubernetes.resources import BY_PLURAL, NODES, PODS
from tests.support.kubernetes.store import Store, Thing

SCHEDULER = "default-scheduler"
OVER = ("Succeeded", "Failed")
_HELPLESS = ("node(s) didn't match Pod's node affinity/selector", "node(s) had untolerated taint(s)",
             "node(s) were unschedulable")  # fmt: skip


def schedule(store: Store, pod: Thing) -> bool:
    """Bind one pod, or say in its condition and an event why no node takes it. False: it stays Pending."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    missing = _missing_claim(store, pod)
    nodes = store.all(NODES)
    reasons = {node["metadata"]["name"]: misfits(store, pod, node) for node in nodes}
    fitting = [node for node, found in reasons.items() if not found]
    if fitting and not missing:
        _bind(store, pod, fitting[0])
        return True
    text = missing or sentence(list(reasons.values()))
    before = pod.get("status", {}).get("conditions")

    def unschedulable(one: Thing) -> None:
        set_condition(one, "PodScheduled", "False", "Unschedulable", text)

    after = store.update(PODS, namespace, name, unschedulable)
    if after["status"]["conditions"] != before:
        record(store, after, "FailedScheduling", text, "Warning", SCHEDULER)
    return False


def sentence(found: list[list[str]]) -> str:
    """The scheduler's message for the reasons of each node."""
    if not found:
        return "no nodes available to schedule pods"
    counts = Counter(reason for node in found for reason in node)
    reasons = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    helpless = sum(any(reason in _HELPLESS for reason in node) for node in found)
    rest = len(found) - helpless
    why = [f"{rest} No preemption victims found for incoming pod"] if rest else []
    why += [f"{helpless} Preemption is not helpful for scheduling"] if helpless else []
    head = f"0/{len(found)} nodes are available"
    return f"{head}: {reasons}. no new claims to deallocate, preemption: {head}: {', '.join(sorted(why))}."


def _bind(store: Store, pod: Thing, node: str) -> None:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]

    def bind(one: Thing) -> None:
        one["spec"]["nodeName"] = node
        set_condition(one, "PodScheduled", "True")

    bound = store.update(PODS, namespace, name, bind)
    text = f"Successfully assigned {namespace}/{name} to {node}"
    record(store, bound, "Scheduled", text, source=SCHEDULER)


def _missing_claim(store: Store, pod: Thing) -> str:
    for volume in pod["spec"].get("volumes") or []:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        namespace = pod["metadata"]["namespace"]
        if claim and store.peek(BY_PLURAL["persistentvolumeclaims"], namespace, claim) is None:
            return f'persistentvolumeclaim "{claim}" not found'
    return ""


def used(store: Store, node: str, without: frozenset[str] = frozenset()) -> dict[str, Decimal]:
    """What the pods on a node ask for together, without those of the given UIDs."""
    total: dict[str, Decimal] = {}
    for pod in store.all(PODS):
        mine = pod["spec"].get("nodeName") == node and pod["metadata"]["uid"] not in without
        if mine and pod.get("status", {}).get("phase") not in OVER:
            for name, number in {**requests(pod), "pods": Decimal(1)}.items():
                total[name] = total.get(name, Decimal(0)) + number
    return total


def misfits(store: Store, pod: Thing, node: Thing, without: frozenset[str] = frozenset()) -> list[str]:
    """Why the node does not take the pod: the first filter that says no, as the scheduler runs them."""
    spec = node.get("spec", {})
    if spec.get("unschedulable"):
        return ["node(s) were unschedulable"]
    if any(not _tolerated(pod, taint) for taint in spec.get("taints") or []):
        return ["node(s) had untolerated taint(s)"]
    labels = node["metadata"].get("labels") or {}
    wanted = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()) or not _affine(pod, labels):
        return ["node(s) didn't match Pod's node affinity/selector"]
    has, taken = node["status"].get("allocatable", {}), used(store, node["metadata"]["name"], without)
    asks = {**requests(pod), "pods": Decimal(1)}
    short = [
        name
        for name, number in asks.items()
        if taken.get(name, Decimal(0)) + number > amount(has.get(name, "0"))
    ]
    return ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in short]


def _tolerated(pod: Thing, taint: Thing) -> bool:
    if taint["effect"] == "PreferNoSchedule":
        return True
    for one in pod["spec"].get("tolerations") or []:
        if one.get("effect") not in (None, "", taint["effect"]):
            continue
        same_key = one.get("key") in (None, "", taint["key"])
        if same_key and (one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", "")):
            return True
    return False


def _affine(pod: Thing, labels: dict[str, str]) -> bool:
    """Required node affinity, with the operators In, NotIn, Exists and DoesNotExist."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True

    def holds(rule: Thing) -> bool:
        key, values = rule["key"], rule.get("values") or []
        return {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[rule["operator"]]

    terms = required["nodeSelectorTerms"]
    return any(all(holds(rule) for rule in term.get("matchExpressions") or []) for term in terms)
