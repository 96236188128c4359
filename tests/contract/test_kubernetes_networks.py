"""The NetworkPolicies of deploy/kubernetes, beside the networks of docker-compose.yaml."""

from itertools import product

import pytest
import yaml

from tests.support.overlays import ROOT, copied, of_kind, pods, rendered
from tests.support.policies import End, Policies

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]
PORTS = {
    "postgres": 5432, "redis": 6379, "s3": 8333, "gateway-1": 8000, "mlflow": 5000, "pushgateway": 9091,
    "airflow": 8080,
}  # fmt: skip
# Who has to reach whom for a night, an answer, an alert and a measurement.
NEEDED = {
    ("traefik", "gateway-1"), ("prometheus", "gateway-1"), ("prometheus", "pushgateway"),
    ("gateway-1", "gateway-1"), ("airflow", "airflow"), ("scheduler", "airflow"), ("triggerer", "airflow"),
    ("dag-processor", "airflow"), ("steps", "pushgateway"), ("steps", "gateway-1"),
    *product(("gateway-1", "steps", "mlflow", "databases", "prepare", "roles", "bucket"), ("postgres", "s3")),
    *product(("airflow", "scheduler", "triggerer", "dag-processor"), ("postgres", "s3", "redis")),
    *product(("gateway-1", "steps", "prepare"), ("redis",)),
    ("alertmanager", "airflow"),
}  # fmt: skip
STEP = {"app.kubernetes.io/name": "nightshift", "app.kubernetes.io/component": "step"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("manifests"))


def ends(objects):
    """The services of Compose as pods of the cluster."""
    found = {
        "gateway-1" if name == "gateway" else name: End(template["metadata"]["labels"])
        for name, template in pods(objects).items()
    }
    airflow = {
        name: End({"tier": "airflow"}) for name in ("airflow", "scheduler", "triggerer", "dag-processor")
    }
    outside = {
        "traefik": End({}, "gateway-system"),
        "prometheus": End({}, "monitoring"),
        "alertmanager": End({}, "monitoring"),
    }
    return {**found, **airflow, **outside, "steps": End(STEP)}


def share_a_network(one, other):
    names = [
        "scheduler" if name in ("steps", "doctor") else name for name in (one, other)
    ]  # in Compose, steps run there
    here, there = (set(COMPOSE[name].get("networks", ())) for name in names)
    return bool(here & there) or names[0] == names[1]


def test_what_is_needed_is_allowed_and_no_more_than_in_compose(folder):
    objects = rendered(folder / "overlays/dev")
    policies, all_of = Policies(objects), ends(objects)
    allowed = {
        (source, target)
        for source, target in product(all_of, PORTS)
        if policies.allow(all_of[source], all_of[target], PORTS[target])
    }
    assert allowed >= NEEDED
    assert {pair for pair in allowed if not share_a_network(*pair)} == set()
    assert ("pushgateway", "postgres") not in allowed
    assert ("traefik", "pushgateway") not in allowed
    assert not {source for source, target in allowed if target == "mlflow"}  # people go through port-forward


def test_nobody_else_gets_in(folder):
    objects = rendered(folder / "overlays/dev")
    policies, stranger = Policies(objects), End({}, "default")
    for name, end in ends(objects).items():
        if end.namespace == "nightshift":
            assert not policies.allow(stranger, end, PORTS.get(name, 80)), name
            assert not policies.allow(end, stranger, 80), name


def test_everybody_finds_names(folder):
    objects = rendered(folder / "overlays/prod")
    names = End({"k8s-app": "kube-dns"}, "kube-system")
    for name, end in ends(objects).items():
        if end.namespace == "nightshift":
            assert Policies(objects).allow(end, names, 53, "UDP"), name


@pytest.mark.parametrize("overlay", ["overlays/prod", "overlays/vllm"])
def test_production_reaches_its_state_outside(folder, overlay):
    objects = rendered(folder / overlay)
    policies, all_of = Policies(objects), ends(objects)
    database, store, node = (
        End(address="192.0.2.7"),
        End(address="198.51.100.9"),
        End(address="169.254.169.254"),
    )
    members = ("gateway-1", "mlflow", "databases", "prepare", "steps", "scheduler", "triggerer", "airflow")
    for name in members:
        assert policies.allow(all_of[name], database, 5432), name
        assert policies.allow(all_of[name], store, 443), name
        assert not policies.allow(all_of[name], store, 5432), name
        assert not policies.allow(all_of[name], node, 443), f"{name}: the node's credentials"
        assert not policies.allow(all_of[name], node, 80), name
    assert not policies.allow(all_of["pushgateway"], database, 5432)


def test_steps_of_another_tenant_reach_what_they_need(folder):
    objects = [*rendered(folder / "overlays/prod"), *rendered(folder / "tenant")]
    policies, all_of = Policies(objects), ends(objects)
    theirs = End(STEP, "nightshift-north")
    assert policies.allow(theirs, all_of["pushgateway"], 9091)
    assert policies.allow(theirs, End(address="192.0.2.7"), 5432)
    assert policies.allow(theirs, End(address="198.51.100.9"), 443)
    assert not policies.allow(theirs, all_of["gateway-1"], 8000)
    assert not policies.allow(all_of["steps"], theirs, 8000)
    assert "nightshift-north" in of_kind(objects, "Namespace")
