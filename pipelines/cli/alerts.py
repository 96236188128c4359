"""Alerts: `nightshift alerts-...`."""

from __future__ import annotations

import argparse
import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.cli.common import add_command, add_json, add_result, write_result
from pipelines.core.config import Config
from pipelines.core.errors import InputError

UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}


def add(commands: Any) -> None:
    """Add the commands."""
    command = add_command(
        commands, "alerts-list", "show what fires, what is silenced, the last rulings", _list
    )
    command.add_argument("--limit", type=int, default=20, help="how many rulings (default: %(default)s)")
    add_json(command)

    text = "take no action on matching alerts for a while; --for 0m ends that"
    command = add_command(commands, "alerts-silence", text, _silence)
    command.add_argument("matchers", nargs="+", metavar="LABEL=PATTERN", help="name=Input*, cause=drift, ...")
    command.add_argument("--for", dest="span", required=True, metavar="SPAN", help="30m, 2h or 7d")
    command.add_argument("--reason", required=True, help="why; kept in the ledger")
    command.add_argument("--actor", default=getpass.getuser(), help="who silences (default: you)")

    text = "rule on the alerts that came in; print what is to be started"
    add_result(add_command(commands, "alerts-route", text, _route))


def _route(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.dispatch_alerts import dispatch

    rulings, result = dispatch(config)
    print(result.headline, flush=True)
    for ruling in rulings:
        print(f"{ruling.cause:<10} {ruling.action:<8} {ruling.reason}", flush=True)
    for run in result.start:
        print(f"to start: {run.dag_id} as {run.dag_run_id}", flush=True)
    write_result(args, result)
    return 0


def _silence(args: argparse.Namespace, config: Config) -> int:
    from pipelines.core.alerts import Silence
    from pipelines.stores import open_inbox

    now, matchers = datetime.now(UTC), dict(_matcher(word) for word in args.matchers)
    silence = Silence(matchers, now + span(args.span), args.actor, args.reason)
    open_inbox(config).add_silence(silence, now)
    print(f"silenced until {silence.until:%Y-%m-%d %H:%M:%S} UTC", flush=True)
    return 0


def _list(args: argparse.Namespace, config: Config) -> int:
    state = _state(config, args.limit)
    print(json.dumps(state) if args.json else "\n".join(_lines(state)))
    return 0


def _state(config: Config, limit: int) -> dict[str, Any]:
    from pipelines.core.alerts import silenced
    from pipelines.operations.dispatch_alerts import read_state
    from pipelines.policy.alerts.firing import episodes, firing
    from pipelines.stores import open_ledger

    now = datetime.now(UTC)
    known = read_state(config, open_ledger(config), now)
    return {
        "unruled": len(known.unruled),
        "firing": [
            {"name": e.alert.name, "cause": e.alert.cause, "severity": e.alert.severity,
             "labels": e.alert.details, "since": _iso(e.start), "silenced": silenced(e.alert, known.silences)}
            for e in firing(episodes(known.deliveries, now, config.alerts.expires_s))
        ],
        "silences": [
            {"matchers": s.matchers, "until": _iso(s.until), "actor": s.actor, "reason": s.reason}
            for s in known.silences
        ],
        "rulings": [
            {"at": _iso(r.at), "cause": r.cause, "action": r.action, "reason": r.reason,
             "deliveries": len(r.triggers), "run": r.dag_run_id}
            for r in known.rulings[-limit:]
        ],
    }  # fmt: skip


def _lines(state: dict[str, Any]) -> list[str]:
    from pipelines.core.alerts import listed

    lines = [f"{state['unruled']} deliveries wait for a ruling"]
    for alert in state["firing"]:
        rest = [listed(alert["labels"]), "silenced" * alert["silenced"]]
        words = "  ".join(filter(None, [alert["name"], *rest]))
        lines.append(f"fires     {alert['since']}  {alert['cause']:<10} {alert['severity']:<8} {words}")
    for silence in state["silences"]:
        who = f"{silence['actor']}: {silence['reason']}"
        lines.append(f"silenced  until {silence['until']}  {silence['matchers']}  {who}")
    for ruled in state["rulings"]:
        lines.append(f"ruled     {ruled['at']}  {ruled['cause']:<10} {ruled['action']:<8} {ruled['reason']}")
    return lines


def _iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def span(text: str) -> timedelta:
    """`30m`, `2h` or `7d`. Raises InputError."""
    found = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    if not found:
        raise InputError(f"--for {text} is no length of time.", "Write 30m, 2h or 7d.")
    return timedelta(seconds=int(found[1]) * UNITS_S[found[2]])


def _matcher(word: str) -> tuple[str, str]:
    label, separator, pattern = word.partition("=")
    if not label or not separator or not pattern:
        raise InputError(f"{word!r} matches no label.", "Write LABEL=PATTERN, such as tenant=north-*.")
    return label, pattern
