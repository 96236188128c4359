#!/bin/sh
# Print the manifests of an overlay, or say what has to be set first: render.sh dev|prod|FOLDER
set -eu
here=$(dirname "$0")
overlay=$1
[ -d "$overlay" ] || overlay=$here/overlays/$1
kubectl=${KUBECTL:-kubectl}
rendered=$($kubectl kustomize "$overlay")
unset=$(printf '%s\n' "$rendered" | grep --line-number --extended-regexp 'example\.com|192\.0\.2\.|sha256:0{64}' || true)
if [ -n "$unset" ]; then
  printf 'Set these in %s first:\n%s\n' "$overlay" "$unset" >&2
  exit 1
fi
printf '%s\n' "$rendered"
