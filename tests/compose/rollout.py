"""A rollout in what docker-compose.yaml started, with users at the load balancer: rollout.py TOKEN PASSWORD.

Prints each task of `promote` as it ends, and how many requests were answered. Exit status 0 for a promotion
with every request answered.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request
from typing import Any

AIRFLOW = f"http://127.0.0.1:{os.environ.get('AIRFLOW_PORT', '8080')}"
GATEWAYS = f"http://127.0.0.1:{os.environ.get('NIGHTSHIFT_PORT', '8000')}"
RUNS = "/api/v2/dags/promote/dagRuns"
LIMIT_S = 3_600
ENDED = ("success", "failed", "skipped", "upstream_failed")


def call(url: str, token: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
    """The JSON answer to a request."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(url, data, headers, method=method), timeout=60
    ) as found:
        return json.load(found)


class Users:
    """People who ask in turn, and dislike every answer of either adapter, until they are told to stop."""

    def __init__(self, token: str) -> None:
        self._token, self._stopped = token, threading.Event()
        self._numbers = itertools.count()
        self.answered, self.refused = 0, list[str]()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stopped.is_set():
            number = next(self._numbers)
            question = {"role": "user", "content": f"Patient {number}: which nerve moves the tongue?"}
            body = {"model": "department-router", "user": f"person-{number}", "messages": [question]}
            try:
                told = call(f"{GATEWAYS}/v1/chat/completions", self._token, body)
                call(f"{GATEWAYS}/v1/feedback", self._token, {"request_id": told["id"], "rating": -1})
                self.answered += 1
            except (urllib.error.URLError, OSError, KeyError) as error:
                self.refused.append(f"{error!r}")
            time.sleep(0.2)


def wait_for_promotion(token: str) -> bool:
    """Follow the newest run of `promote`, and agree when it asks. Whether it ended in `promoted`."""
    run, told, end = "", dict[str, str](), time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        time.sleep(3)
        runs = call(f"{AIRFLOW}{RUNS}?order_by=-run_after&limit=1", token)["dag_runs"]
        if not runs:
            continue
        run = f"{AIRFLOW}{RUNS}/{runs[0]['dag_run_id']}"
        tasks = {t["task_id"]: t["state"] for t in call(f"{run}/taskInstances", token)["task_instances"]}
        for task, state in tasks.items():
            if state in ENDED and told.get(task) != state:
                print(f"{time.strftime('%T')}  {task}  {state}", flush=True)
        told = tasks
        if tasks.get("approve") == "awaiting_input":
            answer = {"chosen_options": ["Approve"], "params_input": {}}
            call(f"{run}/taskInstances/approve/-1/hitlDetails", token, answer, "PATCH")
        if runs[0]["state"] in ("success", "failed"):
            return tasks.get("promoted") == "success"
    print(f"no end after {LIMIT_S} s", file=sys.stderr)
    return False


def main(token: str, password: str) -> int:
    login = {"username": "admin", "password": password}
    airflow = call(f"{AIRFLOW}/auth/token", "", login)["access_token"]
    call(f"{AIRFLOW}/api/v2/dags/promote", airflow, {"is_paused": False}, "PATCH")
    if not call(f"{AIRFLOW}{RUNS}", airflow)["dag_runs"]:
        call(f"{AIRFLOW}{RUNS}", airflow, {"logical_date": None, "conf": {}})
    with Users(token) as users:
        promoted = wait_for_promotion(airflow)
    print(f"{users.answered} requests answered, {len(users.refused)} not: {users.refused[:3]}")
    return 0 if promoted and users.answered and not users.refused else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
