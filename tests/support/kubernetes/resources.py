"""The resources that the double serves: what a real server lists under /api and /apis."""

from __future__ import annotations

from dataclasses import dataclass

_ALL = ("pods", "services", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "cronjobs",
        "horizontalpodautoscalers")  # fmt: skip


@dataclass(frozen=True)
class Resource:
    """One kind. `schema` is false for a custom kind, whose fields nobody checks here."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    schema: bool = True

    @property
    def categories(self) -> list[str]:
        """`kubectl get all` asks for these."""
        return ["all"] if self.plural in _ALL else []

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def key(self) -> tuple[str, str]:
        return self.group, self.plural


def custom(group: str, version: str, kind: str, plural: str, namespaced: bool = True) -> Resource:
    """A kind that a CustomResourceDefinition would bring."""
    return Resource(group, version, kind, plural, namespaced, (), ("status",), schema=False)


_STATUS = ("status",)
RBAC = "rbac.authorization.k8s.io"
BUILT_IN = [
    Resource("", "v1", "Pod", "pods", True, ("po",), ("status", "log", "eviction")),
    Resource("", "v1", "Event", "events", True, ("ev",)),
    Resource("", "v1", "Namespace", "namespaces", False, ("ns",), _STATUS),
    Resource("", "v1", "Node", "nodes", False, ("no",), _STATUS),
    Resource("", "v1", "ConfigMap", "configmaps", True, ("cm",)),
    Resource("", "v1", "Secret", "secrets"),
    Resource("", "v1", "Service", "services", True, ("svc",), _STATUS),
    Resource("", "v1", "ServiceAccount", "serviceaccounts", True, ("sa",)),
    Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, ("pvc",), _STATUS),
    Resource("", "v1", "ResourceQuota", "resourcequotas", True, ("quota",), _STATUS),
    Resource("", "v1", "LimitRange", "limitranges", True, ("limits",)),
    Resource("batch", "v1", "Job", "jobs", True, (), _STATUS),
    Resource("batch", "v1", "CronJob", "cronjobs", True, ("cj",), _STATUS),
    Resource("apps", "v1", "Deployment", "deployments", True, ("deploy",), _STATUS),
    Resource("apps", "v1", "ReplicaSet", "replicasets", True, ("rs",), _STATUS),
    Resource("apps", "v1", "StatefulSet", "statefulsets", True, ("sts",), _STATUS),
    Resource("apps", "v1", "DaemonSet", "daemonsets", True, ("ds",), _STATUS),
    Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", True, ("netpol",)),
    Resource("networking.k8s.io", "v1", "Ingress", "ingresses", True, ("ing",), _STATUS),
    Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", True, ("pdb",), _STATUS),
    Resource(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", True, ("hpa",), _STATUS
    ),
    Resource("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", False, ("pc",)),
    Resource("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", False),
    Resource("storage.k8s.io", "v1", "StorageClass", "storageclasses", False, ("sc",)),
    Resource("coordination.k8s.io", "v1", "Lease", "leases"),
    Resource(RBAC, "v1", "Role", "roles"),
    Resource(RBAC, "v1", "RoleBinding", "rolebindings"),
    Resource(RBAC, "v1", "ClusterRole", "clusterroles", False),
    Resource(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", False),
]
PODS, EVENTS, NAMESPACES, NODES = BUILT_IN[:4]
BY_PLURAL = {resource.plural: resource for resource in BUILT_IN}
JOBS = BY_PLURAL["jobs"]
