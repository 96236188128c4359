#!/bin/sh
# Print where the services of docker-compose.yaml are reached, and where their passwords lie.
set -eu
cat << TEXT
Gateways      http://127.0.0.1:${NIGHTSHIFT_PORT:-8000}/v1
Airflow       http://127.0.0.1:${AIRFLOW_PORT:-8080}    user admin, password in deploy/compose/secrets/airflow_password
MLflow        http://127.0.0.1:${MLFLOW_PORT:-5000}
Grafana       http://127.0.0.1:${GRAFANA_PORT:-3000}    user admin, password in deploy/compose/secrets/grafana_password
Prometheus    http://127.0.0.1:${PROMETHEUS_PORT:-9090}
Alertmanager  http://127.0.0.1:${ALERTMANAGER_PORT:-9093}
Jaeger        http://127.0.0.1:${JAEGER_PORT:-16686}
A token:      docker compose run --rm issuer token --tenant north-clinic
TEXT
