"""The commands of docs/kubernetes.md, run as they stand against the API server of the tests."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.cluster import PASSWORD
from tests.support.kubernetes import Image, custom, running_kubernetes
from tests.support.overlays import KUBERNETES, ROOT

pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs/kubernetes.md").read_text()
CUSTOM = [
    custom("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
    custom("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    custom("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
    custom("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
]
# What the page quotes and no test runs: it needs a program, a controller or a person that is not here.
ONLY_READ = {
    "docker and make": r"TAG=trial make images|for name in airflow",
    "helm": r"helm ",
    "a connection into a pod": r"kubectl .*(port-forward|exec )|TOKEN=|curl |kubectl get --raw",
    "the controller of StatefulSets": r"kubectl .*(rollout (status|undo)|logs gateway-0)",
    "protobuf, which `kubectl create` sends": r"kubectl .*create job",
    "External Secrets": r"kubectl .*externalsecret",
    "a trial's PostgreSQL, Redis and object store": r"kubectl .*wait .*job/roles",
    "a watch without end": r"kubectl .*--watch",
}
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for language, block in FENCES if not language for line in block.splitlines()]
SPANS = re.findall(r"`(kubectl [^`]+)`", PAGE)
ONCE = [*dict.fromkeys([*LINES, *SPANS])]
RUN = [line for line in ONCE if not any(re.match(one, line) for one in ONLY_READ.values())]


class Person:
    """Somebody who follows the page: a copy of the project, and kubectl."""

    def __init__(self, folder, cluster):
        self.folder, self.done = folder, []
        for path in ROOT.iterdir():
            if path.name not in ("deploy", ".git"):
                (folder / path.name).symlink_to(path)
        (folder / "deploy").mkdir()
        for path in (ROOT / "deploy").iterdir():
            if path.name != "kubernetes":
                (folder / "deploy" / path.name).symlink_to(path)
        subprocess.run(["cp", "-r", KUBERNETES, folder / "deploy/kubernetes"], check=True)
        path = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)}

    def runs(self, line, is_good=True):
        """One line of the page; what it prints."""
        assert line in RUN, f"the page does not say: {line}"
        self.done.append(line)
        return self.types(line, is_good)

    def types(self, line, is_good=True):
        options = {"cwd": self.folder, "env": self._environment, "capture_output": True, "text": True}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], timeout=120, check=False, **options)
        assert (done.returncode == 0) == is_good, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def sets(self, folder, values):
        """What the page says has to be set, in the files of an overlay."""
        for file in (self.folder / folder).rglob("*"):
            if file.suffix in (".yaml", ".toml", ".jsonl") and "secrets" not in file.parts:
                text = file.read_text()
                for what, value in values.items():
                    text = text.replace(what, value)
                file.write_text(text)


IMAGES = {"registry.example.com/": "registry.internal/", "sha256:" + 64 * "0": "sha256:" + 64 * "a"}
SETUP = "deploy/kubernetes/render.sh mine | kubectl apply --server-side --selector app.kubernetes.io/component=setup -f -"  # noqa: E501
PIPELINES = "registry.internal/nightshift/pipelines"


@pytest.fixture
def work(tmp_path):
    """The image of the work plane: this project's environment, and the command as the Dockerfile makes it."""
    (programs := tmp_path / "programs").mkdir()
    (programs / "nightshift").write_text(f'#!/bin/sh\nexec {ROOT}/.venv/bin/python -m pipelines "$@"\n')
    (programs / "nightshift").chmod(0o755)
    passfile = {"PGPASSFILE": str(tmp_path / "pgpass")}
    return Image(path=str(programs), cwd=str(ROOT), env={"PYTHONPATH": str(ROOT), **passfile})


@pytest.fixture
def person(tmp_path, work):
    with running_kubernetes({PIPELINES: work}, custom=CUSTOM) as cluster:
        yield Person(tmp_path, cluster)


def test_every_line_of_the_page_is_run_or_named():
    used = {why for line in ONCE for why, one in ONLY_READ.items() if re.match(one, line)}
    assert used == ONLY_READ.keys()
    source = Path(__file__).read_text()
    assert [line for line in RUN if source.count(f'"{line}"') != 1] == []


def test_a_trial_is_applied_as_the_page_says(person):
    person.runs(".venv/bin/python -m deploy.kubernetes.make_secrets deploy/kubernetes/overlays/dev/secrets")
    said = person.types("deploy/kubernetes/render.sh dev", is_good=False)
    assert "Set these in deploy/kubernetes/overlays/dev first" in said
    person.sets("deploy/kubernetes/overlays/dev", IMAGES)
    said = person.runs("deploy/kubernetes/render.sh dev | kubectl apply --server-side -f -")
    assert "statefulset.apps/gateway serverside-applied" in said
    assert "secret/nightshift-keys serverside-applied" in said
    person.runs("kubectl delete namespace nightshift")


def prepare_state(person, postgres, bucket, environment):
    """What a platform has before anybody installs Nightshift: databases with roles, a bucket, Secrets."""
    for role in ("nightshift_owner", "nightshift", "mlflow", "feast"):
        postgres.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")
    for database, owner in (("nightshift", "nightshift_owner"), ("mlflow", "mlflow"), ("feast", "feast")):
        postgres.create(database, owner)
    (person.folder / "pgpass").write_text(postgres.passfile.read_text())
    (person.folder / "pgpass").chmod(0o600)
    address = f"127.0.0.1:{postgres.server.port}"
    values = {
        **IMAGES,
        "@db.example.com": f"@{address}",
        "s3://nightshift.example.com": bucket,
        "rediss://redis.example.com:6379": "redis://127.0.0.1:1",
        "/run/secrets/nightshift": str(person.folder / "deploy/kubernetes/overlays/mine/secrets/keys"),
        "192.0.2.0/24": "10.0.0.0/8",
        "example.com": "hospital.internal",
        "mountPath: /tmp}": "mountPath: /scratch}",  # the server replaces it in every path
    }
    person.sets("deploy/kubernetes/overlays/mine", values)
    person.sets("deploy/kubernetes/base", values)
    person.types("kubectl create namespace nightshift --dry-run=client -o yaml | kubectl apply -f -")
    given = " ".join(f"--from-literal={name}={value}" for name, value in environment.items())
    others = ("pgpass", "owner-pgpass", "redis", "keys")
    for name, words in {"environment": given, **dict.fromkeys(others, "--from-literal=any=thing")}.items():
        line = f"kubectl --namespace nightshift create secret generic nightshift-{name} {words}"
        person.types(
            f"{line} --dry-run=client -o yaml | kubectl apply -f -"
        )  # as External Secrets makes them


def test_production_is_installed_updated_and_looked_at(person, postgres, bucket, object_store_server):
    person.runs("cp -r deploy/kubernetes/overlays/prod deploy/kubernetes/overlays/mine")
    assert "cidr: 192.0.2.0/24" in person.runs("deploy/kubernetes/render.sh mine", is_good=False)
    person.runs(".venv/bin/python -m deploy.kubernetes.make_secrets deploy/kubernetes/overlays/mine/secrets")
    prepare_state(person, postgres, bucket, object_store_server.environment)
    apply = "deploy/kubernetes/render.sh mine | kubectl apply --server-side -f -"
    person.runs(apply)
    wait = (
        "kubectl --namespace nightshift wait --for=condition=complete --timeout=20m job/databases job/prepare"
    )
    assert "job.batch/prepare condition met" in person.runs(wait)
    assert postgres.execute("SELECT count(*) FROM information_schema.tables", "nightshift")
    assert "ledger" in person.runs("kubectl --namespace nightshift logs job/databases")
    job = "kubectl --namespace nightshift create job doctor --from=cronjob/doctor --dry-run=client -o yaml"
    person.types(f"{job} | kubectl apply -f -")
    said = person.runs("kubectl --namespace nightshift logs --follow --pod-running-timeout=5m job/doctor")
    assert "ledger" in said
    person.runs("kubectl --namespace nightshift get pods --selector app.kubernetes.io/name=gateway")
    assert "databases-" in person.runs("kubectl --namespace nightshift get pods")
    person.runs("kubectl --namespace nightshift get events --sort-by=.lastTimestamp")
    person.runs("kubectl --namespace nightshift delete job databases prepare --ignore-not-found")
    said = person.runs(SETUP)
    assert "statefulset" not in said
    assert "job.batch/databases" in said
    assert "job.batch/databases condition met" in person.types(wait)  # again, over tables that are there
    person.types(apply)
    person.runs("kubectl --namespace nightshift rollout restart statefulset/gateway")
    person.runs("kubectl --namespace nightshift rollout restart deployment --selector tier=airflow")


def test_a_tenant_gets_a_namespace(person):
    person.runs("cp -r deploy/kubernetes/tenant deploy/kubernetes/north")
    said = person.runs("kubectl apply --server-side -k deploy/kubernetes/north")
    assert "namespace/nightshift-north serverside-applied" in said
    assert "resourcequota/steps serverside-applied" in said
