"""The pods that the launcher makes, against the namespaces of deploy/kubernetes that have to admit them."""

import json
import sys

import pytest

from pipelines.core.config import load_config
from pipelines.core.config.pods import COMMANDS
from tests.support.admitted import beyond_limits, beyond_quotas, missing, not_restricted, quotas_of
from tests.support.overlays import KUBERNETES, ROOT, copied, of_kind, rendered
from tests.support.policies import End, Policies

sys.path.insert(0, str(ROOT / "plugins"))

from nightshift.launchers import Command
from nightshift.launchers.pods.document import Owner, document, pod_name

STATE = {"app.kubernetes.io/component": "state"}


def made(command, overlay, **pods):
    """The pod of a command, by an overlay's profile; `pods` are settings of `[pods]`."""
    changed = {f"pods.{name}": value for name, value in pods.items()}
    config = load_config(KUBERNETES / "overlays" / overlay / "profile/cluster.toml", ROOT, changed)
    owner = Owner("nightly_retrain", "scheduled__2026-01-01T02:00:00+00:00", command)
    asked = Command((command, "--run-dir=s3://b/runs/2026-01-01"), owner.dag_id, owner.run_id, "00-ab-cd-01")
    name = pod_name(command, owner, config, 1)
    return document(asked, owner, config, name, "f" * 32, "s3://b/shared/results/x.json")


@pytest.fixture(scope="module")
def overlays(tmp_path_factory):
    folder = copied(tmp_path_factory.mktemp("manifests"))
    return {name: rendered(folder / "overlays" / name) for name in ("dev", "prod")} | {
        "tenant": rendered(folder / "tenant")
    }


def problems(pod, objects):
    namespace = of_kind(objects, "Namespace")[pod["metadata"]["namespace"]]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    wrong = [*beyond_limits(pod, objects), *beyond_quotas(pod, objects), *missing(pod, objects)]
    return [*not_restricted(pod), *wrong]


@pytest.mark.parametrize("overlay", ["dev", "prod"])
@pytest.mark.parametrize("command", COMMANDS)
def test_each_commands_pod_is_admitted_and_counted(overlays, overlay, command):
    pod = made(command, overlay)
    assert problems(pod, overlays[overlay]) == []
    counting = {quota["metadata"]["name"] for quota in quotas_of(pod, overlays[overlay])}
    assert counting == {"steps", "accelerators"}


def test_a_tenants_namespace_admits_a_training(overlays):
    pod = made("train", "prod", namespace="nightshift-north", storage_class="fast")
    objects = overlays["tenant"] + [*of_kind(overlays["prod"], "PriorityClass").values()]
    by_hand = problems(pod, objects)
    assert len(by_hand) == 5
    page = (ROOT / "docs" / "kubernetes.md").read_text().partition("## Tenants\n")[2].partition("\n## ")[0]
    assert [said for said in by_hand if f"`{said.split()[1]}`" not in page] == []
    assert {quota["metadata"]["name"] for quota in quotas_of(pod, objects)} == {"steps", "accelerators"}


def without(pod, *path):
    *way, last = path
    for key in way:
        pod = pod[key]
    del pod[last]


def with_value(pod, value, *path):
    *way, last = path
    for key in way:
        pod = pod[key]
    pod[last] = value


STEP = ("spec", "containers", 0)
HELD, ASKED = (*STEP, "securityContext"), (*STEP, "resources")
BROKEN = {
    "step: runAsNonRoot is not true": lambda pod: without(pod, "spec", "securityContext", "runAsNonRoot"),
    "step: runs as root": lambda pod: with_value(pod, 0, "spec", "securityContext", "runAsUser"),
    "step: no seccomp profile": lambda pod: without(pod, "spec", "securityContext", "seccompProfile"),
    "step: privileged": lambda pod: with_value(pod, True, *HELD, "privileged"),
    "step: allowPrivilegeEscalation is not false": lambda pod: without(
        pod, *HELD, "allowPrivilegeEscalation"
    ),
    "step: capabilities are not dropped": lambda pod: without(pod, *HELD, "capabilities"),
    "step: a capability is added": lambda pod: with_value(pod, ["SYS_ADMIN"], *HELD, "capabilities", "add"),
    "step: a port of the host": lambda pod: with_value(pod, [{"hostPort": 80}], *STEP, "ports"),
    "step: procMount": lambda pod: with_value(pod, "Unmasked", *HELD, "procMount"),
    "hostNetwork is set": lambda pod: with_value(pod, True, "spec", "hostNetwork"),
    "volume home is a hostPath": lambda pod: with_value(
        pod, {"name": "home", "hostPath": {"path": "/"}}, "spec", "volumes", 0
    ),
    "steps: step does not say requests.memory": lambda pod: without(pod, *ASKED, "requests", "memory"),
    "steps: step does not say limits.cpu": lambda pod: without(pod, *ASKED, "limits", "cpu"),
    "ServiceAccount nobody": lambda pod: with_value(pod, "nobody", "spec", "serviceAccountName"),
    "Secret nothing": lambda pod: with_value(
        pod, [{"secretRef": {"name": "nothing"}}], *STEP, "envFrom"
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", BROKEN)
def test_what_the_namespace_refuses_is_noticed(overlays, wrong):
    pod = json.loads(json.dumps(made("curate", "dev")))  # requests and limits are one object
    BROKEN[wrong](pod)
    assert problems(pod, overlays["dev"]) == [wrong]


@pytest.mark.parametrize(
    ("pods", "wrong"),
    [
        ({"memory": "300Gi"}, "steps: 322122547200 of requests.memory is more than 256Gi"),
        ({"cpu": "33"}, "steps: 33 of limits.cpu is more than 32"),
        ({"cpu": "65"}, "step: 65 of cpu is more than 64"),
        ({"gpu": 5}, "accelerators: 5 of requests.nvidia.com/gpu is more than 4"),
        ({"home_size": "2Ti", "storage_class": "fast"}, "home: 2Ti of storage is more than 1Ti"),
        ({"priority_class": "night"}, "PriorityClass night"),
    ],
)
def test_a_profile_that_asks_for_too_much_is_noticed(overlays, pods, wrong):
    assert wrong in problems(made("curate", "dev", **pods), overlays["dev"])


def test_a_pod_of_another_priority_is_not_counted(overlays):
    pod = made("curate", "dev", priority_class="nightshift-serving")
    assert {quota["metadata"]["name"] for quota in quotas_of(pod, overlays["dev"])} == {"accelerators"}


def reached(pod, objects):
    """The places that a pod reaches, of those that a command may need and some that it may not."""
    here = End(pod["metadata"]["labels"], pod["metadata"]["namespace"])
    places = {
        "postgres": (End(STATE), 5432), "redis": (End(STATE), 6379), "s3": (End(STATE), 8333),
        "pushgateway": (End({"app.kubernetes.io/name": "pushgateway"}), 9091),
        "gateway": (End({"app.kubernetes.io/name": "gateway"}), 8000),
        "databases outside": (End(address="192.0.2.7"), 5432),
        "redis outside": (End(address="192.0.2.7"), 6379),
        "https": (End(address="203.0.113.7"), 443), "http": (End(address="203.0.113.7"), 80),
        "the node's credentials": (End(address="169.254.169.254"), 443),
        "airflow": (End({"tier": "airflow"}), 8080), "a step": (here, 80),
    }  # fmt: skip
    policies = Policies(objects)
    assert policies.allow(here, End({"k8s-app": "kube-dns"}, "kube-system"), 53, "UDP")
    return {name for name, (end, port) in places.items() if policies.allow(here, end, port)}


def test_a_step_reaches_what_it_needs_and_nothing_else(overlays):
    inside = {"postgres", "redis", "s3", "pushgateway", "gateway", "https"}
    outside = {"pushgateway", "gateway", "https", "databases outside", "redis outside"}
    assert reached(made("train", "dev"), overlays["dev"]) == inside
    assert reached(made("train", "prod"), overlays["prod"]) >= outside
    assert not reached(made("train", "prod"), overlays["prod"]) & {"http", "airflow", "a step"}
    lost = made("train", "prod")
    del lost["metadata"]["labels"]["app.kubernetes.io/component"]
    assert reached(lost, overlays["prod"]) == set()


def test_nobody_reaches_a_step(overlays):
    pod = made("train", "prod")
    step = End(pod["metadata"]["labels"], pod["metadata"]["namespace"])
    for other in (End({"tier": "airflow"}), End({"app.kubernetes.io/name": "gateway"}), End({}, "default")):
        assert not Policies(overlays["prod"]).allow(other, step, 80)
