#!/bin/sh
# Two files have to belong to whoever reads them: libpq takes no password file that others can read, and Airflow
# opens its users' file for writing. Compose mounts secrets read-only and open to every user of the container;
# Kubernetes mounts them for a group, in a folder each. What any process writes into the home is for its owner only.
set -eu
umask 077
for file in pgpass airflow_users postgres/pgpass; do
  if [ -f "/run/secrets/$file" ]; then
    cat "/run/secrets/$file" > "/tmp/${file##*/}"
  fi
done
exec "$@"
