#!/bin/sh
# Build the stand-ins of tests/compose/Dockerfile under the names that docker-compose.yaml asks for.
set -eu
cd "$(dirname "$0")"
export DOCKER_BUILDKIT=1
sed -n 's/^ *image: //p' ../../docker-compose.yaml | grep -E 'postgres:|redis:|seaweedfs:|traefik:|/prom|prom/' | sort -u |
  while read -r image; do
    target=${image%:*}
    target=${target##*/}
    echo "building a stand-in for $image" >&2
    # shellcheck disable=SC2086  # BUILD_OPTIONS holds several words
    docker build --quiet --target "$target" --tag "$image" ${PIP_CONF:+--secret "id=pip,src=$PIP_CONF"} \
      ${CA_FILE:+--secret "id=ca,src=$CA_FILE"} ${BUILD_OPTIONS:-} . > /dev/null
  done
