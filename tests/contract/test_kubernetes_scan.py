"""Custom kinds against schemas made from their definitions, and what checkov finds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.overlays import ROOT, copied, rendered

pytestmark = pytest.mark.slow
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"
MODULES = ROOT / ".crds" / "node_modules"
NODE = Path(sys.executable).with_name("node")
HELP = "run `make .venv-checkov/.ready .crds/.ready`"
PACKAGE = "@kubernetes-models"
PROMETHEUS = "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1"
# Kind -> package, module of its type, module of its validator.
CUSTOM = {
    "ExternalSecret": (
        "external-secrets",
        "external-secrets.io/v1/ExternalSecret",
        "ComGithubExternalSecretsExternalSecretsApisExternalsecretsV1ExternalSecret",
    ),
    "HTTPRoute": (
        "gateway-api",
        "gateway.networking.k8s.io/v1/HTTPRoute",
        "IoK8sSigsGatewayApiApisV1HTTPRoute",
    ),
    "PrometheusRule": (
        "prometheus-operator",
        "monitoring.coreos.com/v1/PrometheusRule",
        f"{PROMETHEUS}PrometheusRule",
    ),
    "ServiceMonitor": (
        "prometheus-operator",
        "monitoring.coreos.com/v1/ServiceMonitor",
        f"{PROMETHEUS}ServiceMonitor",
    ),
}
DCGM = ({"dcgm-exporter"}, "it profiles GPUs as root with SYS_ADMIN, in a namespace of its own")
# What checkov may find: the objects, and why it stays.
WAIVED = {
    "CKV_K8S_23": DCGM,
    "CKV_K8S_25": DCGM,
    "CKV_K8S_35": (
        {"gateway", "mlflow", "prepare", "bucket", "doctor"},
        "a Secret as variables: AWS's libraries read those; a role of the platform replaces it",
    ),
    "CKV_K8S_39": DCGM,
    "CKV_K8S_40": (
        {"postgres", "redis", "roles", *DCGM[0]},
        "a low user id: the one that the image's files belong to",
    ),
}
TRIAL = {
    "CKV_K8S_15": "an image with a tag is not pulled each time: the trial's may be loaded into the node",
    "CKV_K8S_43": "images by tag: production takes them by digest",
}


@pytest.fixture(scope="module")
def overlays(tmp_path_factory):
    folder = copied(tmp_path_factory.mktemp("manifests"))
    return {name: rendered(folder / name) for name in ("overlays/dev", "overlays/prod", "overlays/vllm")}


def typescript_errors(objects, folder):
    """What the compiler says against objects as values of their types: unknown fields too."""
    (folder / "node_modules").symlink_to(MODULES)
    lines = []
    for number, thing in enumerate(objects):
        package, module, _ = CUSTOM[thing["kind"]]
        lines.append(
            f'import type {{I{thing["kind"]} as T{number}}} from "{PACKAGE}/{package}/{module}";\n'
            f"export const a{number}: T{number} = {json.dumps(thing)};"
        )
    (folder / "objects.mts").write_text("\n".join(lines))
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"]
    line = [NODE, MODULES / "typescript/bin/tsc", *options, "objects.mts"]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False).stdout


def validator_errors(objects, folder):
    """What the validators say: values, ranges and patterns."""
    lines = []
    for number, thing in enumerate(objects):
        package, _, name = CUSTOM[thing["kind"]]
        module = f"./node_modules/{PACKAGE}/{package}/_schemas/{name}.js"  # the package exports it not always
        lines.append(
            f'import {{validate as v{number}}} from "{module}";\n'
            f"if (!v{number}({json.dumps(thing)})) console.log(JSON.stringify(v{number}.errors));"
        )
    (folder / "validate.mjs").write_text("\n".join(lines))
    line = [NODE, "validate.mjs"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def failed(objects, folder):
    """What checkov finds: its checks, each with the name of an object."""
    assert CHECKOV.exists(), HELP
    (folder / "all.yaml").write_text(yaml.safe_dump_all(objects))
    line = [CHECKOV, "--framework", "kubernetes", "--compact", "--output", "json", "--file", "all.yaml"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 400
    return {(one["check_id"], one["resource"].split(".")[-1]) for one in report["results"]["failed_checks"]}


def test_custom_kinds_fit_their_definitions(overlays, tmp_path):
    assert MODULES.is_dir(), HELP
    custom = [thing for objects in overlays.values() for thing in objects if thing["kind"] in CUSTOM]
    assert {thing["kind"] for thing in custom} == CUSTOM.keys()
    assert typescript_errors(custom, tmp_path) == ""
    assert validator_errors(custom, tmp_path) == ""
    route = next(thing for thing in custom if thing["kind"] == "HTTPRoute")
    unknown = {**route, "spec": {**route["spec"], "hostname": "x"}}
    (tmp_path / "again").mkdir()
    assert "hostname" in typescript_errors([unknown], tmp_path / "again")
    wrong = {**route, "spec": {**route["spec"], "hostnames": ["not a host"]}}
    assert "hostnames" in validator_errors([wrong], tmp_path)


@pytest.mark.parametrize("overlay", ["overlays/dev", "overlays/vllm"])  # the latter is production and more
def test_checkov_finds_what_is_waived_and_no_more(overlays, overlay, tmp_path):
    found = failed(overlays[overlay], tmp_path)
    allowed = {(check, name) for check, (names, _) in WAIVED.items() for name in names}
    trial = TRIAL if overlay == "overlays/dev" else {}
    assert {(check, name) for check, name in found - allowed if check not in trial} == set()
    there = {thing["metadata"]["name"] for thing in overlays[overlay]}
    assert {(check, name) for check, name in allowed if name in there} <= found  # no waiver for nothing
    assert trial.keys() <= {check for check, _ in found}
