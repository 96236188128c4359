#!/bin/bash
# `make test-compose`: build the images, start everything, run a small night, promote its adapter while users ask
# through the load balancer, kill a gateway, run a second night, end.
#   PULL=1  takes the other images, and Python's, from their registries, instead of building stand-ins from packages
#   KEEP=1  leaves everything running at the end
# Without a Docker engine it starts one of its own, which needs root and Debian.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d /tmp/nightshift-compose.XXXXXX)
engine=
export COMPOSE_PROJECT_NAME=nightshift-test NIGHTSHIFT_PROFILES=$work/profiles NIGHTSHIFT_PORT=18000 \
  AIRFLOW_PORT=18080 MLFLOW_PORT=15000 PROMETHEUS_PORT=19090 ALERTMANAGER_PORT=19093 GRAFANA_PORT=13000 \
  JAEGER_PORT=16687
compose=${COMPOSE:-docker compose}

finish() {
  status=$?
  trap - EXIT
  if [ $status -ne 0 ]; then
    $compose ps --all || true
    $compose logs --tail 15 || true
  fi
  if [ -z "${KEEP:-}" ]; then
    $compose down --volumes > /dev/null 2>&1 || true
    [ -z "$engine" ] || tests/compose/engine.sh stop "$engine"
    rm -rf "$work" || true
  fi
  exit $status
}
trap finish EXIT

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

if ! docker info > /dev/null 2>&1; then
  say "starting a Docker engine"
  engine=$work/engine
  tests/compose/engine.sh start "$engine"
  export DOCKER_HOST=unix://$engine/docker.sock PATH=$engine/root/usr/bin:$PATH
fi

if [ -z "${PULL:-}" ]; then
  export COMPOSE_FILE=docker-compose.yaml:tests/compose/override.yaml NIGHTSHIFT_TRACES=
  if ! docker image inspect python:3.11-slim-bookworm > /dev/null 2>&1; then
    say "making a base image"
    tests/compose/base.sh "$work/base" "$engine"
  fi
  tests/compose/images.sh
  say "the stand-ins are built"
fi
deploy/images/build.sh
say "our images are built"

mkdir -p "$NIGHTSHIFT_PROFILES"
# The cluster's profile with the sizes of tests/support/tiny.toml, and short stages.
python3 tests/compose/merge.py config/cluster.toml tests/support/tiny.toml tests/compose/promote.toml \
  > "$NIGHTSHIFT_PROFILES/cluster.toml"

python3 deploy/compose/make_secrets.py deploy/compose/secrets
$compose up --detach --wait
say "everything is healthy"
make compose-night COMPOSE="$compose"
say "the night is over"
token=$($compose run --rm --no-TTY issuer python -m gateway.dev_token --home /var/lib/issuer --states-users 2> /dev/null)
python3 tests/compose/rollout.py "$token" "$(cat deploy/compose/secrets/airflow_password)"
say "its adapter is in production"
tests/compose/ask.sh "$compose"
say "users are answered, also without gateway-1"
make compose-night COMPOSE="$compose"
say "the second night is over"
$compose exec --no-TTY gateway-2 python - < tests/compose/rights.py
$compose exec --no-TTY scheduler /opt/work/bin/nightshift verify
