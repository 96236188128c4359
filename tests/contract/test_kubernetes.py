"""deploy/kubernetes as kubectl renders it: schemas, and what has to hold for each object."""

import re
import subprocess
import tomllib

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import SchemaNotFoundError

from deploy.kubernetes.make_rules import rules
from gateway.metrics import Metrics
from pipelines.core.config import Gateway, load_config
from tests.support.overlays import (
    KUBECTL,
    KUBERNETES,
    NO_VALUE,
    ROOT,
    containers,
    copied,
    of_kind,
    pods,
    refers_to,
    rendered,
    strings,
)

VERSIONS = ("1.30", "1.37")  # the oldest and the newest Kubernetes that docs/kubernetes.md promises
# kubernetes-validate knows built-in kinds only. tests/contract/test_kubernetes_scan.py checks these.
CUSTOM = {"ExternalSecret", "HTTPRoute", "PrometheusRule", "ServiceMonitor"}
OVERLAYS = ("overlays/dev", "overlays/prod", "overlays/vllm", "tenant")
PRIVILEGED = {"dcgm-exporter"}  # root and SYS_ADMIN, in a namespace of its own
VALUES = yaml.safe_load((KUBERNETES / "airflow/values.yaml").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copied(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="module")
def overlays(folder):
    return {name: rendered(folder / name) for name in OVERLAYS}


@pytest.fixture(params=OVERLAYS)
def objects(request, overlays):
    return overlays[request.param]


@pytest.mark.parametrize("version", VERSIONS)
def test_built_in_objects_are_valid(objects, version):
    unknown = set()
    for thing in objects:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except SchemaNotFoundError:
            unknown.add(thing["kind"])
    assert unknown <= CUSTOM


def test_an_unknown_field_is_noticed(overlays):
    gateway = of_kind(overlays["overlays/prod"], "StatefulSet")["gateway"]
    wrong = {**gateway, "spec": {**gateway["spec"], "replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_container_is_held_in(objects):
    for name, template in pods(objects).items():
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}, name
        for one in containers(template):
            security = one["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"]["drop"] == ["ALL"], name
            added = security["capabilities"].get("add", [])
            is_free = bool(added) or not spec["securityContext"].get("runAsNonRoot")
            assert is_free == (name in PRIVILEGED), name


def test_every_container_has_requests_and_limits(objects):
    for name, template in pods(objects).items():
        assert template["spec"]["priorityClassName"], name
        for one in containers(template):
            for side in ("requests", "limits"):
                assert {"cpu", "memory", "ephemeral-storage"} <= one["resources"][side].keys(), name
        for volume in template["spec"].get("volumes", ()):
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], f"{name}: {volume['name']}"


def test_every_server_is_probed(objects):
    servers = of_kind(objects, "Deployment", "StatefulSet", "DaemonSet")
    for name, server in servers.items():
        for one in server["spec"]["template"]["spec"]["containers"]:
            assert {"livenessProbe", "readinessProbe"} <= one.keys(), name


def test_our_images_run_as_their_user(objects):
    for name, template in pods(objects).items():
        for one in containers(template):
            if "/nightshift/" in one["image"]:
                assert template["spec"]["securityContext"]["runAsUser"] == 10001, name
                assert "command" not in one, f"{name}: the image's entrypoint copies the password file"


@pytest.mark.parametrize("overlay", ["overlays/prod", "overlays/vllm"])
def test_production_takes_images_by_digest(overlays, overlay):
    images = {one["image"] for template in pods(overlays[overlay]).values() for one in containers(template)}
    assert len(images) >= 4
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images)
    profile = of_kind(overlays[overlay], "ConfigMap")["nightshift-profile"]["data"]["cluster.toml"]
    assert tomllib.loads(profile)["pods"]["image"] in images


def test_what_a_pod_reads_is_there(overlays):
    for name in ("overlays/dev", "overlays/prod", "overlays/vllm"):
        objects = overlays[name]
        there = {("Secret", one) for one in of_kind(objects, "Secret", "ExternalSecret")}
        there |= {("ConfigMap", one) for one in of_kind(objects, "ConfigMap")}
        for workload, template in pods(objects).items():
            assert refers_to(template) <= there, f"{name}: {workload}"
        assert refers_to({"spec": {"containers": [], "volumes": VALUES["volumes"]}}) <= there
        profile = tomllib.loads(of_kind(objects, "ConfigMap")["nightshift-profile"]["data"]["cluster.toml"])
        assert {("Secret", one) for one in profile["pods"]["secret_files"]} <= there
        named = [VALUES[f"{key}SecretName"] for key in ("fernetKey", "apiSecretKey", "jwt")]
        assert {("Secret", one) for one in (*named, VALUES["data"]["metadataSecretName"])} <= there


def test_no_manifest_holds_a_secret(overlays):
    for name, objects in overlays.items():
        secrets = of_kind(objects, "Secret")
        assert bool(secrets) == (name == "overlays/dev")  # from files that git ignores
        for text in (text for thing in objects if thing["kind"] != "Secret" for text in strings(thing)):
            assert not re.search(r"://[^/@\s]*:[^/@\s]+@|PRIVATE KEY", text), f"{name}: {text}"
            assert text == NO_VALUE or NO_VALUE not in text
    line = ["git", "check-ignore", "--quiet", "deploy/kubernetes/overlays/dev/secrets/environment"]
    assert subprocess.run(line, cwd=ROOT, check=False).returncode == 0


def test_who_launches_pods_reads_no_secret(objects):
    roles = of_kind(objects, "Role", "ClusterRole")
    assert roles.keys() == {"nightshift-launcher"}
    rights = roles["nightshift-launcher"]["rules"]
    assert {(what, verb) for rule in rights for what in rule["resources"] for verb in rule["verbs"]} == {
        *(("pods", verb) for verb in ("create", "get", "list", "watch", "delete")),
        ("pods/log", "get"),
        *(("events", verb) for verb in ("get", "list", "watch")),
    }
    (binding,) = of_kind(objects, "RoleBinding", "ClusterRoleBinding").values()
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "nightshift-launcher", "namespace": "nightshift"}
    ]


def test_airflow_takes_tokens_only_where_pods_start():
    accounts = {
        part: values["serviceAccount"]
        for part, values in VALUES.items()
        if isinstance(values, dict) and "serviceAccount" in values
    }
    tokens = {part for part, account in accounts.items() if account["automountServiceAccountToken"]}
    assert tokens == {"scheduler", "triggerer"}
    assert {account["name"] for part, account in accounts.items() if part in tokens} == {
        "nightshift-launcher"
    }
    assert VALUES["rbac"] == {"create": False}
    assert VALUES["triggerer"]["enabled"] is True  # tasks wait there


def test_namespaces_admit_restricted_pods_only(objects):
    for name, namespace in of_kind(objects, "Namespace").items():
        level = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        assert level == ("privileged" if name == "nightshift-gpu" else "restricted")


def test_a_gateway_ends_in_its_grace_period(overlays):
    gateway = of_kind(overlays["overlays/prod"], "StatefulSet")["gateway"]["spec"]
    spec = gateway["template"]["spec"]
    last_delivery_s = 5  # of the spool, on SIGTERM
    waits_s = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= waits_s + Gateway().drain_s + last_delivery_s + 5
    (claim,) = gateway["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
    home = {item["name"]: item.get("value") for item in spec["containers"][0]["env"]}["NIGHTSHIFT_HOME"]
    assert home.startswith(mounts[claim["metadata"]["name"]])  # the spool survives the pod
    assert gateway["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }


def test_every_server_of_users_has_a_budget(overlays):
    budgets = of_kind(overlays["overlays/prod"], "PodDisruptionBudget")
    assert budgets["gateway"]["spec"]["maxUnavailable"] == 1
    assert of_kind(overlays["overlays/prod"], "StatefulSet")["gateway"]["spec"]["replicas"] >= 3


def test_the_autoscaler_reads_metrics_that_gateways_show(overlays):
    adapter = yaml.safe_load((KUBERNETES / "metrics-adapter/values.yaml").read_text())["rules"]["custom"]
    shown = set(re.findall(r"^# TYPE (\w+)", Metrics().text().decode(), re.MULTILINE))
    made = set()
    for rule in adapter:
        assert rule["seriesQuery"].split("{")[0] in shown
        made.add(rule["name"]["as"])
    scaler = of_kind(overlays["overlays/prod"], "HorizontalPodAutoscaler")["gateway"]["spec"]
    assert {metric["pods"]["metric"]["name"] for metric in scaler["metrics"]} == made
    assert (
        scaler["minReplicas"]
        == of_kind(overlays["overlays/prod"], "StatefulSet")["gateway"]["spec"]["replicas"]
    )


def test_jobs_have_the_names_that_rules_use(overlays):
    monitors = of_kind(overlays["overlays/prod"], "ServiceMonitor").values()
    jobs = {one["relabelings"][0]["replacement"] for thing in monitors for one in thing["spec"]["endpoints"]}
    compose = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())["scrape_configs"]
    assert jobs <= {job["job_name"] for job in compose}
    assert jobs >= {"nightshift_gateway", "pushgateway"}


def test_copies_are_those_of_compose():
    assert (KUBERNETES / "base/monitoring/rules.yaml").read_text() == rules()
    assert (KUBERNETES / "overlays/dev/roles.sql").read_text() == (
        ROOT / "deploy/compose/roles.sql"
    ).read_text()


def test_render_refuses_what_is_not_set(folder):
    line = [folder / "render.sh", "prod"]
    done = subprocess.run(
        line,
        env={"KUBECTL": str(KUBECTL), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "cidr: 192.0.2.0/24" in done.stderr


@pytest.mark.parametrize("overlay", ["dev", "prod"])
def test_profiles_run_every_command_in_a_pod(overlay):
    config = load_config(KUBERNETES / "overlays" / overlay / "profile/cluster.toml", ROOT, {})
    assert config.launcher == "pod"
    assert config.pods.priority_class == "nightshift-step"
    assert config.pods.secret_files["nightshift-pgpass"] == "/run/secrets/postgres"  # the entrypoint's place
    assert config.evaluate.suite.startswith("/etc/nightshift/")
