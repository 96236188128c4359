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


def _as_name(given: Any) -> Any:
    """A number as a text, and what is missing as an empty one."""
    if given is None:
        return ""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME)]
Short = Annotated[str, Field(max_length=MOST_NAME)]
Texts = dict[str, str]
LenientTexts = Annotated[Texts, BeforeValidator(_as_texts)]
LenientName = Annotated[str, BeforeValidator(_as_name)]


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
    fingerprint: LenientName = ""

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


MOST_COUNT = 10**8
VERSIONS = ("4", "1")  # of Alertmanager and of Grafana


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

    @property
    def truncated(self) -> int:
        """This format has no such field."""
        return 0

    @property
    def doubts(self) -> list[str]:
        """What is odd around the alerts."""
        return []


class WebhookFrame(BaseModel):
    version: Any = None
    sender: Annotated[LenientName, Field(alias="receiver")] = ""
    alerts: Annotated[list[Any], Field(min_length=1)]
    cut_off: Annotated[Any, Field(alias="truncatedAlerts")] = None

    @property
    def truncated(self) -> int:
        """How many alerts the sender cut off; 0 where that cannot be read."""
        found = str(self.cut_off or 0).removesuffix(".0")
        return min(int(found[:9]), MOST_COUNT) if found.isascii() and found.isdecimal() else 0

    @property
    def doubts(self) -> list[str]:
        """What is odd around the alerts, which are read all the same."""
        said = []
        if str(self.version) not in VERSIONS:
            known = " and ".join(VERSIONS)
            said.append(f"the webhook's version is {self.version!r:.40}, and {known} are known")
        if self.cut_off and not self.truncated:
            said.append(f"truncatedAlerts is {self.cut_off!r:.40}, which is no count")
        return said


FORMATS: dict[str, tuple[type[JsonFrame | WebhookFrame], type[JsonAlert | WebhookAlert]]] = {
    "alertmanager": (WebhookFrame, WebhookAlert),
    "json": (JsonFrame, JsonAlert),
}
