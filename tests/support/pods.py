"""Pod mode in tests: a profile whose state lies in shared folders, and what a cluster holds for its pods."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import yaml

from tests.support.kubernetes import Image, Kubernetes
from tests.support.overlays import KUBERNETES

NAMESPACE = "nightshift"
REPOSITORY = "registry.example/nightshift/pipelines"
DIGEST = f"{REPOSITORY}@sha256:{'a' * 64}"


def write_profile(path: Path, shared: Path, kubeconfig: Path, pods: str = "", more: str = "") -> Path:
    """A profile in pod mode; `pods` are lines of its section `[pods]`, `more` comes after it.

    The keys lie in `shared`: the double mounts nothing, so no program finds /run/secrets/nightshift. What
    else steps read is named where `more` does not name it; stand-ins read none of it.
    """
    places = {
        "model.base": f"{shared}/base",
        "evaluate.suite": f"{shared}/suite.jsonl",
        "features.online_url": "redis://127.0.0.1:1/1",
        "features.registry_url": f"sqlite:///{shared}/feast.db",
    }
    own = tomllib.loads(more)
    named = [f'{name} = "{place}"' for name, place in places.items() if name.split(".")[0] not in own]
    lines = "\n".join(named)
    path.write_text(
        f"""
profile = "{path.stem}"
schedule = ""
launcher = "pod"
runs_root = "{shared}/runs"
lake_root = "{shared}/lake"
shared_root = "{shared}/shared"
artifact_root = "{shared}/artifacts"
ledger_url = "sqlite:///{shared}/ledger.db"
journal_url = "sqlite:///{shared}/journal.db"
tracking_uri = "sqlite:///{shared}/mlflow.db"
keys = "{shared}/keys"
{lines}
[pods]
namespace = "{NAMESPACE}"
image = "{DIGEST}"
kubeconfig = "{kubeconfig}"
cpu = "1"
memory = "4Gi"
poll_s = 1
logging_interval_s = 1
grace_period_s = 2
kill_grace_s = 1
{pods}
{more}
"""
    )
    return path


def image(programs: Path, **env: str) -> dict[str, Image]:
    """The work plane's image: the programs of a folder."""
    return {REPOSITORY: Image(path=str(programs), env=env)}


def give_rights(cluster: Kubernetes) -> None:
    """What deploy/kubernetes lets Airflow's account `nightshift-launcher` do."""
    for thing in yaml.safe_load_all((KUBERNETES / "base/steps/accounts.yaml").read_text()):
        if thing["kind"] in ("Role", "RoleBinding"):
            cluster.create(thing)


def furnish(cluster: Kubernetes, profile: Path, keys: dict[str, str] | None = None) -> None:
    """What deploy/kubernetes makes: namespace, service account, profile, and Secrets."""
    meta: dict[str, Any] = {"namespace": NAMESPACE}
    secrets = {"nightshift-environment": {"FROM_SECRET": "yes"}, "nightshift-keys": keys or {}}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for name in ("nightshift-step",):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**meta, "name": name}}
        cluster.create(account)
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**meta, "name": "nightshift-profile"},
            "data": {"cluster.toml": profile.read_text()},
        }
    )
    for name, data in secrets.items():
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**meta, "name": name},
            "stringData": data,
        }
        cluster.create(secret)


PYTHON = Path(sys.executable).parent
