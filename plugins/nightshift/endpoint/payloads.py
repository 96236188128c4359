"""The bodies that the endpoint reads: its own plain format, and the webhook of Alertmanager and Grafana."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

MOST_TEXT, MOST_LABELS, MOST_NAME = 4_000, 100, 200  # characters of a text, labels, characters of a name


def _as_texts(given: Any) -> Any:
    """Values that are no texts as texts, and without those that are missing: third parties send both."""
    if not isinstance(given, dict):
        return {} if given is None else given
    return {key: v if isinstance(v, str) else str(v) for key, v in given.items() if v is not None}


Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]
Short = Annotated[str, Field(max_length=MOST_NAME)]
Texts = dict[str, str]
LenientTexts = Annotated[Texts, BeforeValidator(_as_texts)]


class JsonAlert(BaseModel, extra="forbid"):
    """One alert of the plain format. Without `starts_at` it starts when it arrives."""

    name: Name
    status: Literal["firing", "resolved"] = "firing"
    cause: Name
    severity: Short = "warning"
    labels: Texts = {}
    annotations: Texts = {}
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    fingerprint: Short = ""

    def fields(self) -> dict[str, Any]:
        """The alert as `pipelines.stores.inbox.delivery_row` takes it."""
        return self.model_dump()


class WebhookAlert(BaseModel):
    """One alert of a webhook. Unknown fields are ignored: a later version may add some."""

    status: Literal["firing", "resolved"]
    labels: LenientTexts
    annotations: LenientTexts = {}
    startsAt: AwareDatetime | None = None
    endsAt: AwareDatetime | None = None
    fingerprint: str = ""

    def fields(self) -> dict[str, Any]:
        """The alert as `pipelines.stores.inbox.delivery_row` takes it."""
        return {
            "name": self.labels.get("alertname") or "unnamed",
            "status": self.status,
            "cause": self.labels.get("cause", ""),
            "severity": self.labels.get("severity", "warning"),
            "labels": self.labels,
            "annotations": self.annotations,
            "starts_at": self.startsAt,
            "ends_at": self.endsAt if self.status == "resolved" else None,
            "fingerprint": self.fingerprint,
        }


class JsonBody(BaseModel, extra="forbid"):
    """The plain format."""

    sender: str = ""
    alerts: Annotated[list[JsonAlert], Field(min_length=1)]


class WebhookBody(BaseModel):
    """The webhook of Alertmanager (version 4) and of Grafana (version 1)."""

    version: Literal["4", "1"]
    receiver: str = ""
    alerts: Annotated[list[WebhookAlert], Field(min_length=1)]
    truncatedAlerts: Annotated[int, Field(ge=0, description="alerts cut off by max_alerts")] = 0


# Around the alerts: these are read one by one, so that a bad one is set aside alone.
class JsonFrame(BaseModel, extra="forbid"):
    sender: str = ""
    alerts: Annotated[list[Any], Field(min_length=1)]
    truncated: Literal[0] = 0


class WebhookFrame(BaseModel):
    version: Literal["4", "1"]
    sender: Annotated[str, Field(alias="receiver")] = ""
    alerts: Annotated[list[Any], Field(min_length=1)]
    truncated: Annotated[int, Field(ge=0, alias="truncatedAlerts")] = 0


FORMATS: dict[str, tuple[type[JsonFrame | WebhookFrame], type[JsonAlert | WebhookAlert]]] = {
    "alertmanager": (WebhookFrame, WebhookAlert),
    "json": (JsonFrame, JsonAlert),
}
