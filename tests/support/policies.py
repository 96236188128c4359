"""Who may talk to whom, by the NetworkPolicies among rendered objects: as Kubernetes defines them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class End:
    """A pod by its labels and namespace, or an address outside the cluster."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = "nightshift"
    address: str = ""


class Policies:
    """The policies among some objects. A namespace has its own labels, and the one with its name."""

    def __init__(self, objects: list[Object]) -> None:
        self._policies = [thing for thing in objects if thing["kind"] == "NetworkPolicy"]
        self._namespaces = {
            thing["metadata"]["name"]: thing["metadata"].get("labels", {})
            for thing in objects
            if thing["kind"] == "Namespace"
        }

    def allow(self, source: End, target: End, port: int, protocol: str = "TCP") -> bool:
        """Whether a connection passes: out of the source, and into the target."""
        return self._passes(source, target, port, protocol, "egress") and self._passes(
            target, source, port, protocol, "ingress"
        )

    def _passes(self, own: End, other: End, port: int, protocol: str, way: str) -> bool:
        if own.address:
            return True
        here = [thing for thing in self._policies if self._selects(thing, own, way)]
        rules = [rule for thing in here for rule in thing["spec"].get(way, ())]
        peers = "to" if way == "egress" else "from"
        return not here or any(
            any(self._is_peer(peer, other, own.namespace) for peer in rule.get(peers, ({},)))
            and _has_port(rule, port, protocol)
            for rule in rules
        )

    def _selects(self, policy: Object, end: End, way: str) -> bool:
        return (
            policy["metadata"]["namespace"] == end.namespace
            and way.capitalize() in policy["spec"]["policyTypes"]
            and _matches(policy["spec"]["podSelector"], end.labels)
        )

    def _is_peer(self, peer: Object, other: End, namespace: str) -> bool:
        if "ipBlock" in peer:
            return bool(other.address) and _in_block(peer["ipBlock"], other.address)
        if other.address:
            return not peer
        labels = {
            "kubernetes.io/metadata.name": other.namespace,
            **self._namespaces.get(other.namespace, {}),
        }
        if "namespaceSelector" in peer:
            is_near = _matches(peer["namespaceSelector"], labels)
        else:
            is_near = not peer or other.namespace == namespace
        return is_near and _matches(peer.get("podSelector", {}), other.labels)


def _matches(selector: Object, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    for one in selector.get("matchExpressions", ()):
        assert one["operator"] == "In"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return all(labels.get(key) == value for key, value in wanted.items())


def _has_port(rule: Object, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    return ports is None or any(
        one["port"] == port and one.get("protocol", "TCP") == protocol for one in ports
    )


def _in_block(block: Object, address: str) -> bool:
    where = ip_address(address)
    return where in ip_network(block["cidr"]) and not any(
        where in ip_network(part) for part in block.get("except", ())
    )
