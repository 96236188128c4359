#!/bin/bash
# Ask through the load balancer: with both gateways, and without the first. ask.sh COMPOSE
set -euo pipefail
compose=$1
token=$($compose run --rm --no-TTY issuer python -m gateway.dev_token --home /var/lib/issuer 2> /dev/null)
question='{"model": "department-router", "messages": [{"role": "user", "content": "Which nerve moves the tongue?"}]}'

ask() { # how many of 20 requests were answered
  for _ in $(seq 20); do
    curl --silent --output /dev/null --write-out '%{http_code}\n' --max-time 40 \
      --header "Authorization: Bearer $token" --header "Content-Type: application/json" \
      --data "$question" "http://127.0.0.1:${NIGHTSHIFT_PORT:-8000}/v1/chat/completions"
  done | grep --count '^200$' || true
}

[ "$(ask)" = 20 ] || { echo "not all of 20 requests were answered" >&2; exit 1; }
$compose kill gateway-1 2> /dev/null
[ "$(ask)" = 20 ] || { echo "not all of 20 requests were answered without gateway-1" >&2; exit 1; }
$compose start gateway-1 2> /dev/null
