#!/bin/sh
# Two files have to belong to whoever reads them: libpq takes no password file that others can read, and Airflow
# opens its users' file for writing. Compose mounts secrets read-only and open to every user of the container.
# What any process writes into the home is for its owner only.
set -eu
umask 077
for name in pgpass airflow_users; do
  if [ -e "/run/secrets/$name" ]; then
    cat "/run/secrets/$name" > "/tmp/$name"
  fi
done
exec "$@"
