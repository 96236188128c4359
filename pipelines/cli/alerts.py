"""The command line of alerts: `python -m pipelines alerts-...`."""

from __future__ import annotations

import argparse
import getpass
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.core.config import Config
from pipelines.core.errors import InputError

UNITS_S = {"m": 60, "h": 3_600, "d": 86_400}


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to the parser."""
    text = "rule on the alerts that came in, and say what is to be started"
    command = commands.add_parser("alerts-route", parents=[common], help=text, description=text)
    command.add_argument("--result", metavar="FILE", help="write the short answer there, as JSON")
    command.set_defaults(run=_route)

    text = "do not act on alerts that fit, for a while; silence the same with --for 0m to end it"
    command = commands.add_parser("alerts-silence", parents=[common], help=text, description=text)
    command.add_argument("matchers", nargs="+", metavar="LABEL=PATTERN", help="name=Input*, cause=drift, ...")
    command.add_argument("--for", dest="span", required=True, metavar="2h", help="30m, 2h, 7d")
    command.add_argument("--reason", required=True)
    command.add_argument("--actor", default=getpass.getuser(), help="who silences (you)")
    command.set_defaults(run=_silence)

    text = "what fires, what is silenced, the last rulings"
    command = commands.add_parser("alerts-list", parents=[common], help=text, description=text)
    command.add_argument("--json", action="store_true", help="for programs")
    command.add_argument("--limit", type=int, default=20, help="how many rulings (20)")
    command.set_defaults(run=_list)


def _route(args: argparse.Namespace, config: Config) -> int:
    from pipelines.operations.route_alerts import route_now

    rulings, result = route_now(config)
    print(result.headline, flush=True)
    for ruling in rulings:
        print(f"{ruling.cause:<10} {ruling.action:<8} {ruling.reason}", flush=True)
    for run in result.start:
        print(f"to start: {run.dag_id} as {run.dag_run_id}", flush=True)
    if args.result:
        Path(args.result).write_text(result.model_dump_json(), encoding="utf-8")
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
    from pipelines.core.alerts import listed, silenced
    from pipelines.operations.route_alerts import situation
    from pipelines.policy.alerts.firing import episodes, firing
    from pipelines.stores import open_ledger

    now = datetime.now(UTC)
    known = situation(config, open_ledger(config), now)
    fires: list[dict[str, Any]] = [
        {
            "name": e.alert.name,
            "cause": e.alert.cause,
            "severity": e.alert.severity,
            "labels": e.alert.details,
            "since": f"{e.start:%Y-%m-%dT%H:%M:%SZ}",
            "silenced": silenced(e.alert, known.silences),
        }
        for e in firing(episodes(known.deliveries, now, config.alerts.expires_s))
    ]
    silences = [
        {
            "matchers": s.matchers,
            "until": f"{s.until:%Y-%m-%dT%H:%M:%SZ}",
            "actor": s.actor,
            "reason": s.reason,
        }
        for s in known.silences
    ]
    rulings = [
        {"at": f"{r.at:%Y-%m-%dT%H:%M:%SZ}", "cause": r.cause, "action": r.action, "reason": r.reason,
         "deliveries": len(r.triggers), "run": r.dag_run_id}
        for r in known.rulings[-args.limit :]
    ]  # fmt: skip
    if args.json:
        print(
            json.dumps(
                {"unruled": len(known.unruled), "firing": fires, "silences": silences, "rulings": rulings}
            )
        )
        return 0
    print(f"{len(known.unruled)} deliveries wait for a ruling")
    for alert in fires:
        rest = [listed(alert["labels"]), "silenced" * alert["silenced"]]
        words = "  ".join(filter(None, [alert["name"], *rest]))
        print(f"fires     {alert['since']}  {alert['cause']:<10} {alert['severity']:<8} {words}")
    for silence in silences:
        by = f"{silence['actor']}: {silence['reason']}"
        print(f"silenced  until {silence['until']}  {silence['matchers']}  {by}")
    for ruled in rulings:
        print(f"ruled     {ruled['at']}  {ruled['cause']:<10} {ruled['action']:<8} {ruled['reason']}")
    return 0


def span(text: str) -> timedelta:
    """`30m`, `2h` or `7d`. Raises InputError."""
    found = re.fullmatch(r"([0-9]{1,4})([mhd])", text)
    if not found:
        raise InputError("a time like 30m, 2h or 7d", repr(text), "Say for how long.")
    return timedelta(seconds=int(found[1]) * UNITS_S[found[2]])


def _matcher(word: str) -> tuple[str, str]:
    label, separator, pattern = word.partition("=")
    if not label or not separator or not pattern:
        raise InputError(
            "matchers like name=InputDrift or tenant=north-*", repr(word), "Write LABEL=PATTERN."
        )
    return label, pattern
