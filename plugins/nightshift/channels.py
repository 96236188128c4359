"""Where notices go: a file, a Slack-compatible webhook, e-mail, as the section `[notify]` says.

It uses the standard library only. Airflow's SMTP notifier would need a connection in Airflow's database, and
its Slack provider two more packages.
"""

from __future__ import annotations

import html
import json
import logging
import smtplib
import ssl
import urllib.request
from datetime import UTC, datetime
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import Path
from typing import Any

from nightshift.settings import Settings

TROUBLE = (OSError, HTTPException, ValueError)  # what a channel raises; smtplib's errors are OSErrors
log = logging.getLogger("nightshift.notify")


def notify(settings: Settings, subject: str, text: str, link: str = "") -> list[str]:
    """Send a notice; returns the channels that took it, of `file`, `webhook`, `email`.

    A channel that fails is logged and the others are still tried. Each gives up after `notify.timeout_s`
    seconds without an answer.
    """
    rules, told = settings.config.notify, []
    channels = {
        "file": (rules.file, _to_file),
        "webhook": (rules.webhook_url_file, _to_webhook),
        "email": (rules.email_to, _to_email),
    }
    log.warning("%s: %s", subject, text)
    for name, (wanted, send) in channels.items():
        try:
            if wanted:
                send(settings, subject, text, link)
                told.append(name)
        except TROUBLE as error:
            log.error("The notice was not sent by %s: %s: %s", name, type(error).__name__, error)
    return told


def _to_file(settings: Settings, subject: str, text: str, link: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path = Path(settings.config.path(settings.config.notify.file))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": now, "subject": subject, "text": text, "link": link}) + "\n")


def _to_webhook(settings: Settings, subject: str, text: str, link: str) -> None:
    rules = settings.config.notify
    url = Path(settings.config.path(rules.webhook_url_file)).read_text(encoding="utf-8").strip()
    escaped = html.escape("\n".join(filter(None, (subject, text, link))), quote=False)  # as Slack asks
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps({"text": escaped}).encode(), headers)
    urllib.request.urlopen(request, timeout=rules.timeout_s).close()


def _to_email(settings: Settings, subject: str, text: str, link: str) -> None:
    rules = settings.config.notify
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, rules.email_from, ", ".join(rules.email_to)
    message.set_content("\n\n".join(filter(None, (text, link))) + "\n")
    context = ssl.create_default_context()
    with _server(settings, context) as server:
        if rules.smtp_tls == "starttls":
            server.starttls(context=context)
        if rules.smtp_user:
            password = Path(settings.config.path(rules.smtp_password_file)).read_text(encoding="utf-8")
            server.login(rules.smtp_user, password.strip())
        server.send_message(message)


def _server(settings: Settings, context: ssl.SSLContext) -> smtplib.SMTP:
    rules = settings.config.notify
    peer: dict[str, Any] = {"host": rules.smtp_host, "port": rules.smtp_port, "timeout": rules.timeout_s}
    return smtplib.SMTP_SSL(**peer, context=context) if rules.smtp_tls == "tls" else smtplib.SMTP(**peer)
