"""A command's pod, against Kubernetes' own schema and the restricted level of Pod Security."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))

import kubernetes_validate
from nightshift.launchers import Command
from nightshift.launchers.pods.document import Owner, document, owner_of, pod_name

from pipelines.core.config import Config

IMAGE = "registry.example/nightshift/pipelines@sha256:" + "a" * 64
TRAIN = Command(
    ("train", "--run-dir=s3://b/runs/2026-01-01"), "nightly_retrain", "scheduled__1", "00-ab-cd-01"
)
OWNER = Owner("nightly_retrain", "scheduled__2026-01-01T02:00:00+00:00", "train")
EVERYTHING = {
    "image": IMAGE,
    "labels": {"tenant": "clinic"},
    "pull_secrets": ["registry"],
    "secret_files": {"nightshift-files": "/run/secrets/files"},
    "train": {
        "cpu": "1500m",
        "memory": "64Gi",
        "gpu": 1,
        "storage_class": "fast",
        "node_selector": {"gpu": "a100"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "priority_class": "night",
        "runtime_class": "nvidia",
        "queue": "night",
        "grace_period_s": 300,
        "deadline_s": 7200,
    },
}


def make(pods):
    config = Config.model_validate({"profile": "t", "pods": {"image": IMAGE, **pods}})
    name = pod_name("train", OWNER, config, 1)
    return document(TRAIN, OWNER, config, name, "f" * 32, "s3://b/shared/results/x.json")


@pytest.mark.parametrize("pods", [{}, EVERYTHING, {"keys_secret": "", "environment_secret": ""}])
def test_the_pod_is_what_kubernetes_takes(pods):
    kubernetes_validate.validate(make(pods), kubernetes_validate.latest_version(), strict=True)


def test_the_pod_has_what_was_asked_for():
    pod = make(EVERYTHING)
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    asked = {"cpu": "1500m", "memory": "64Gi", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"limits": asked, "requests": asked}
    assert container["image"] == IMAGE
    assert spec["nodeSelector"] == {"gpu": "a100"}
    assert spec["tolerations"][0] == {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("night", "nvidia")
    assert (spec["activeDeadlineSeconds"], spec["terminationGracePeriodSeconds"]) == (7200, 300)
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert {"name": "OMP_NUM_THREADS", "value": "2"} in container["env"]
    labels = pod["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "night"
    assert (labels["nightshift/run"], labels["nightshift/step"]) == ("2026-01-01", "train")
    assert (labels["nightshift/uid"], labels["tenant"]) == ("f" * 32, "clinic")
    home = next(volume for volume in spec["volumes"] if volume["name"] == "home")
    claim = home["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "20Gi")


def test_a_pod_gets_no_token_no_root_and_no_secret_in_its_text():
    pod = make(EVERYTHING)
    spec, (container,) = pod["spec"], pod["spec"]["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {entry["name"] for entry in container["env"]} == {"TRACEPARENT", "TMPDIR", "OMP_NUM_THREADS"}
    assert container["envFrom"] == [{"secretRef": {"name": "nightshift-environment"}}]


def test_the_command_finds_its_home_its_profile_and_its_place_for_the_result():
    (container,) = make({})["spec"]["containers"]
    assert container["args"] == [
        "nightshift", "train", "--run-dir=s3://b/runs/2026-01-01", "--home=/var/lib/nightshift/home",
        "--config=/etc/nightshift/cluster.toml", "--result=s3://b/shared/results/x.json",
    ]  # fmt: skip
    mounts = {
        mount["name"]: (mount["mountPath"], mount.get("readOnly", False))
        for mount in container["volumeMounts"]
    }
    assert mounts == {
        "home": ("/var/lib/nightshift", False),
        "tmp": ("/tmp", False),
        "profile": ("/etc/nightshift", True),
        "keys": ("/run/secrets/nightshift", True),
    }


def test_a_pods_name_follows_from_its_task():
    config = Config(profile="t")
    other = Config(profile="t", ledger_url="postgresql+psycopg://n@p/other")
    first = pod_name("train", OWNER, config, 1)
    assert first == pod_name("train", OWNER, config, 1)
    names = {
        first, pod_name("train", OWNER, config, 2), pod_name("train", OWNER, other, 1),
        pod_name("train", Owner("nightly_retrain", "another", "train"), config, 1),
    }  # fmt: skip
    assert len(names) == 4
    assert len(first) <= 63


def test_a_pod_names_its_task():
    assert owner_of(make({})["metadata"]["annotations"]) == OWNER
