"""The manifests of deploy/kubernetes as kubectl renders them, and what tests ask of them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUBECTL = ROOT / ".venv" / "bin" / "kubectl"
SECRET_FILE = re.compile(r"secrets/[\w./-]+")
NO_VALUE = "made-by-a-test"
Object = dict[str, Any]


def copied(folder: Path) -> Path:
    """A copy of deploy/kubernetes with stand-ins for the trial's secrets, and a production with vLLM."""
    there = folder / "kubernetes"
    shutil.copytree(KUBERNETES, there, ignore=shutil.ignore_patterns("secrets", "__pycache__"))
    dev = there / "overlays" / "dev"
    for name in SECRET_FILE.findall((dev / "kustomization.yaml").read_text()):
        (dev / name).parent.mkdir(parents=True, exist_ok=True)
        (dev / name).write_text(f"KEY={NO_VALUE}" if name.endswith("environment") else NO_VALUE)
    shutil.copytree(there / "overlays" / "prod", vllm := there / "overlays" / "vllm")
    file = vllm / "kustomization.yaml"
    line = "components:\n"
    assert line in file.read_text()
    file.write_text(file.read_text().replace(line, f"{line}  - ../../components/vllm\n"))
    return there


def rendered(folder: Path) -> list[Object]:
    """The objects of a kustomization. Warnings are errors."""
    done = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [*yaml.safe_load_all(done.stdout)]


def of_kind(objects: list[Object], *kinds: str) -> dict[str, Object]:
    """Objects of these kinds by name."""
    return {thing["metadata"]["name"]: thing for thing in objects if thing["kind"] in kinds}


def pods(objects: list[Object]) -> dict[str, Object]:
    """What each workload runs: the templates of pods by the workload's name."""
    workloads = of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job")
    planned = {name: thing["spec"]["jobTemplate"] for name, thing in of_kind(objects, "CronJob").items()}
    return {name: thing["spec"]["template"] for name, thing in (workloads | planned).items()}


def containers(template: Object) -> Iterator[Object]:
    """All containers of a pod, the ones of its start too."""
    yield from template["spec"].get("initContainers", ())
    yield from template["spec"]["containers"]


def strings(value: Any) -> Iterator[str]:
    """Every text in an object."""
    if isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def refers_to(template: Object) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that a pod reads, as (kind, name)."""
    found = set()
    for volume in template["spec"].get("volumes", ()):
        if "configMap" in volume:
            found.add(("ConfigMap", volume["configMap"]["name"]))
        if "secret" in volume:
            found.add(("Secret", volume["secret"]["secretName"]))
    for source in (source for one in containers(template) for source in one.get("envFrom", ())):
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                found.add((kind, source[field]["name"]))
    return found
