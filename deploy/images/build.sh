#!/bin/sh
# Build the images and write their bills of materials into dist/: build.sh [IMAGE ...].
#   BASE           another base image with Python 3.11
#   TORCH_BACKEND  cpu (default), a CUDA version such as cu128, or empty for the torch of your own index
#   TAG            of the images (default: local)
#   PIP_CONF, UV_TOML, CA_FILE   files with your own package index and certificates; build secrets, in no layer
#   BUILD_OPTIONS  more options of `docker build`
set -eu
cd "$(dirname "$0")/../.."
export DOCKER_BUILDKIT=1
commit=$(git rev-parse HEAD 2> /dev/null || echo unknown)
[ -z "$(git status --porcelain 2> /dev/null)" ] || commit=$commit-modified
tag=${TAG:-local}
mkdir -p dist

lock_of() { # the lock that an image is installed from
  case $1 in airflow) echo airflow ;; gateway) echo gateway ;; *) echo pipelines ;; esac
}

sboms_of() { # the environments that an image holds
  case $1 in
    airflow) echo /opt/airflow ;;
    pipelines) echo /opt/work ;;
    scheduler) echo /opt/airflow /opt/work ;;
    gateway) echo /opt/serving ;;
  esac
}

[ $# -gt 0 ] || set -- airflow pipelines scheduler gateway
for image in "$@"; do
  digest=$(sha256sum "requirements/$(lock_of "$image").txt" | cut -d ' ' -f 1)
  echo "building nightshift/$image:$tag" >&2
  # shellcheck disable=SC2086  # BUILD_OPTIONS holds several words
  docker build --quiet --file deploy/images/Dockerfile --target "$image" --tag "nightshift/$image:$tag" \
    ${BASE:+--build-arg "BASE=$BASE"} --build-arg "TORCH_BACKEND=${TORCH_BACKEND-cpu}" \
    --build-arg "COMMIT=$commit" --build-arg "LOCK_DIGEST=$digest" \
    ${PIP_CONF:+--secret "id=pip,src=$PIP_CONF"} ${UV_TOML:+--secret "id=uv,src=$UV_TOML"} \
    ${CA_FILE:+--secret "id=ca,src=$CA_FILE"} ${BUILD_OPTIONS:-} . > /dev/null
  container=$(docker create "nightshift/$image:$tag" true)
  for environment in $(sboms_of "$image"); do
    docker cp "$container:$environment/sbom.cdx.json" "dist/$image-${environment#/opt/}.cdx.json"
  done
  docker rm "$container" > /dev/null
done
docker image ls --filter "reference=nightshift/*:$tag" --format '{{.Repository}}:{{.Tag}}  {{.Size}}'
