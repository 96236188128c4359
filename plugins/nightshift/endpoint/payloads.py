"""The bodies that the endpoint reads: its own plain format, and Alertmanager's webhook."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

Name = Annotated[str, Field(min_length=1, max_length=200)]
Short = Annotated[str, Field(max_length=200)]
Labels = Annotated[dict[Short, Annotated[str, Field(max_length=10_000)]], Field(max_length=100)]


class JsonAlert(BaseModel, extra="forbid"):
    """One alert of the plain format. Without `starts_at` it starts when it arrives."""

    name: Name
    status: Literal["firing", "resolved"] = "firing"
    cause: Name
    severity: Short = "warning"
    labels: Labels = {}
    annotations: Labels = {}
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    fingerprint: Short = ""


class JsonBody(BaseModel, extra="forbid"):
    """The plain format."""

    sender: Short = ""
    alerts: Annotated[list[JsonAlert], Field(min_length=1, max_length=10_000)]

    def rows(self) -> list[dict[str, Any]]:
        """The alerts as `pipelines.stores.inbox.delivery_row` takes them."""
        return [alert.model_dump() for alert in self.alerts]


class WebhookAlert(BaseModel):
    """One alert of Alertmanager's webhook. Unknown fields are ignored: a later version may add some."""

    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = {}
    startsAt: AwareDatetime
    endsAt: AwareDatetime
    fingerprint: Short = ""


class WebhookBody(BaseModel):
    """Alertmanager's webhook, version 4."""

    version: Literal["4"]
    receiver: Short
    alerts: Annotated[list[WebhookAlert], Field(min_length=1)]

    @property
    def sender(self) -> str:
        return self.receiver

    def rows(self) -> list[dict[str, Any]]:
        """The alerts as `pipelines.stores.inbox.delivery_row` takes them."""
        return [
            {
                "name": alert.labels.get("alertname") or "unnamed",
                "status": alert.status,
                "cause": alert.labels.get("cause", ""),
                "severity": alert.labels.get("severity", "warning"),
                "labels": alert.labels,
                "annotations": alert.annotations,
                "starts_at": alert.startsAt,
                "ends_at": alert.endsAt if alert.status == "resolved" else None,
                "fingerprint": alert.fingerprint,
            }
            for alert in self.alerts
        ]


FORMATS: dict[str, type[WebhookBody] | type[JsonBody]] = {"alertmanager": WebhookBody, "json": JsonBody}
