"""docker-compose.yaml as Compose reads it: what has to hold for each service, and where secrets lie."""

import json
import os
import re
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / ".venv" / "bin"
MANY = ["--profile", "gpu"]
ONCE = {"roles", "databases", "bucket", "prepare", "issuer", "airflow-migrate"}
ROOT_INSIDE = {
    "s3",
    "dcgm-exporter",
}  # their images need it; without capabilities, but for the ones named there
LOCAL = {"COMPOSE_FILE": "docker-compose.yaml", "PATH": os.environ["PATH"]}


def compose(*words):
    line = [PROGRAMS / "docker-compose", *words, "config", "--format", "json"]
    done = subprocess.run(line, cwd=ROOT, env=LOCAL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, (
        done.stderr
    )  # a warning names a variable that is not set, or a field that is ignored
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def made():
    return compose(*MANY)


@pytest.fixture(scope="module")
def services(made):
    return made["services"]


def test_the_override_for_tests_fits():
    found = compose("-f", "docker-compose.yaml", "-f", "tests/compose/override.yaml")
    assert not {"grafana", "jaeger"} & found["services"].keys()


def test_every_server_is_checked_and_restarts(services):
    servers = {name: service for name, service in services.items() if name not in ONCE}
    assert len(servers) == 17
    for name, service in servers.items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name


def test_set_up_runs_once_and_others_wait_for_it(services):
    awaited = set()
    for service in services.values():
        for other, needed in (service.get("depends_on") or {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            assert needed["condition"] == wanted, other
            awaited.add(other)
    assert awaited >= ONCE  # one that nobody waits for makes `up --wait` fail
    assert {services[name]["restart"] for name in ONCE} == {"no"}


def test_every_service_has_limits(services):
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() == {"cpus", "memory", "pids"}, name
        assert float(limits["cpus"]) <= 2, f"{name}: a machine with fewer cores refuses it"
        assert service["logging"]["options"]["max-size"], name


def test_no_service_can_do_more_than_it_needs(services):
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert "/var/run/docker.sock" not in str(service), name
        is_root = service.get("user") == "root" or bool(service.get("cap_add"))
        assert is_root == (name in ROOT_INSIDE), name


def test_ports_are_open_on_loopback_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 7
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}


def test_networks_keep_tiers_apart(made):
    on = {name: set(service.get("networks") or ()) for name, service in made["services"].items()}
    assert on["traefik"] == {"edge", "serving", "watch"}  # users' requests get no further than the gateways
    assert on["postgres"] == on["redis"] == on["s3"] == {"data"}
    assert {name for name, networks in on.items() if "serving" in networks} == {
        "traefik",
        "gateway-1",
        "gateway-2",
    }
    assert {name for name, network in made["networks"].items() if network.get("internal")} == {
        "data",
        "serving",
    }


def test_secrets_are_files(made):
    assert len(made["secrets"]) >= 20
    for name, secret in made["secrets"].items():
        assert secret["file"] == str(ROOT / "deploy/compose/secrets" / name)
    for name, service in made["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            assert not re.search(r"PASSWORD$|SECRET$|TOKEN$|_KEY$", variable), f"{name}: {variable}"
            assert not re.search(r"://[^/@\s]*:[^/@\s]+@", str(value)), f"{name}: {variable}"


def test_steps_cannot_change_the_ledger(services):
    owner = [name for name, service in services.items() if "pgpass_databases" in str(service.get("secrets"))]
    assert owner == ["databases"]
    admin = [name for name, service in services.items() if "s3_admin" in str(service.get("secrets"))]
    assert admin == ["bucket"]
    for gateway in ("gateway-1", "gateway-2"):
        assert {secret["source"] for secret in services[gateway]["secrets"]} == {
            "pgpass_gateway", "s3_gateway", "redis_password"
        }  # fmt: skip
        keys = [mount for mount in services[gateway]["volumes"] if mount["source"] in ("keys", "jwks")]
        assert [mount["read_only"] for mount in keys] == [True, True]


def test_our_images_are_never_pulled(services):
    ours = [service for service in services.values() if service["image"].startswith("nightshift/")]
    assert len(ours) == 12
    assert {service["pull_policy"] for service in ours} == {"never"}
    others = {service["image"] for service in services.values()} - {service["image"] for service in ours}
    assert all(re.search(r":v?\d+\.\d+", image) for image in others)


def test_secrets_are_made_once(tmp_path):
    folder = tmp_path / "secrets"
    line = ["python3", ROOT / "deploy/compose/make_secrets.py", folder]
    subprocess.run(line, check=True)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "postgres_airflow_password").unlink()  # somebody changes one password
    subprocess.run(line, check=True)
    second = {file.name: file.read_bytes() for file in folder.iterdir()}
    changed = {name for name in first if first[name] != second[name]}
    assert changed == {"postgres_airflow_password", "pgpass_airflow"}
    assert second["postgres_airflow_password"] in second["pgpass_airflow"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    named = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["secrets"]
    assert named.keys() <= first.keys()


@pytest.mark.parametrize("name", ["deploy/images/Dockerfile", "tests/compose/Dockerfile"])
def test_dockerfiles_pass_hadolint(name):
    done = subprocess.run([PROGRAMS / "hadolint", ROOT / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_gateway_installs_what_the_lock_says():
    def pins(name):
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        return {line.split(";")[0].strip() for line in lines if re.match(r"[A-Za-z0-9]", line)}

    assert pins("gateway.txt") <= pins("pipelines.txt")


def changed_lines(one, two):
    def text(name):
        lines = (ROOT / name).read_text().splitlines()
        return {line.strip() for line in lines if line.strip() and not line.strip().startswith("#")}

    return text(two) - text(one)


def test_alertmanager_differs_in_two_lines():
    assert changed_lines("deploy/alertmanager/alertmanager.yml", "deploy/compose/alertmanager.yml") == {
        "- url: http://airflow:8080/nightshift/alerts/alertmanager",
        "credentials_file: /run/secrets/alert_token",
    }


def test_grafana_differs_in_one_line():
    source = "deploy/grafana/provisioning/datasources/nightshift.yml"
    assert changed_lines(source, "deploy/compose/grafana-datasource.yml") == {"url: http://prometheus:9090"}


def test_prometheus_has_the_same_rules_and_jobs():
    one, many = (
        yaml.safe_load((ROOT / name).read_text())
        for name in ("deploy/prometheus/prometheus.yml", "deploy/compose/prometheus.yml")
    )
    assert many["rule_files"] == one["rule_files"]
    jobs = {job["job_name"]: job for job in many["scrape_configs"]}
    assert {job["job_name"] for job in one["scrape_configs"]} <= jobs.keys()
    targets = jobs["nightshift_gateway"]["static_configs"][0]["targets"]
    assert targets == ["gateway-1:8000", "gateway-2:8000"]


def test_traefik_knows_both_gateways_and_the_api_only():
    http = yaml.safe_load((ROOT / "deploy/compose/gateways.yml").read_text())["http"]
    servers = http["services"]["gateways"]["loadBalancer"]["servers"]
    assert [server["url"] for server in servers] == ["http://gateway-1:8000", "http://gateway-2:8000"]
    assert [router["rule"] for router in http["routers"].values()] == [
        "PathPrefix(`/v1/`) || Path(`/predict`) || Path(`/openapi.json`)"
    ]


IMPORTS = """
import ast, importlib, json, pkgutil, sys, gateway
for module in pkgutil.walk_packages(gateway.__path__, "gateway."):
    importlib.import_module(module.name)
own = {"gateway", "pipelines"}
files = {module.__file__ for name, module in list(sys.modules.items()) if name.split(".")[0] in own}
names = set()
for file in filter(None, files):
    for node in ast.walk(ast.parse(open(file).read())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
print(json.dumps(sorted(names - own - sys.stdlib_module_names)))
"""


@pytest.mark.slow
def test_the_gateways_image_holds_what_it_imports():
    """Every package that the gateway's own modules name, also inside functions, is in its lock."""
    line = [sys.executable, "-W", "ignore", "-c", IMPORTS]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    lock = (ROOT / "requirements" / "gateway.txt").read_text()
    locked = {canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.MULTILINE)}
    providers = metadata.packages_distributions()
    imported = {name: {canonical(one) for one in providers.get(name, ())} for name in json.loads(done.stdout)}
    missing = {name for name, found in imported.items() if found and not found & locked}
    assert not missing
    assert {"torch", "fastapi", "mlflow"} <= imported.keys()


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()
