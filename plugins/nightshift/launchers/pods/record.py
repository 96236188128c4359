"""What is known of a task's pods. It travels with the trigger, and Airflow's task state store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from airflow.sdk import Context

KEY = "nightshift_pod"


class PodRecord(BaseModel):
    """The task's newest pod. `done`: it was dealt with, and the task's next pod gets the next number."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    uid: str  # our own, in a label: another pod of the same name has another one
    number: int
    since: float  # Unix seconds; when this try's first pod was made
    interruptions: tuple[str, ...] = ()  # of this try: what took its earlier pods away
    waits_since: float = 0.0  # Unix seconds; 0 while no quota keeps the next pod from being made
    done: bool = False

    @classmethod
    def stored(cls, context: Context) -> PodRecord | None:
        """The record of the task, also from an earlier try; None before its first pod."""
        found = context["task_state_store"].get(KEY)
        return cls.model_validate(found) if found else None

    def store(self, context: Context) -> None:
        context["task_state_store"].set(KEY, self.as_json())

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def interrupted(self, sentence: str) -> PodRecord:
        return self.model_copy(update={"interruptions": (*self.interruptions, sentence)})

    def finish(self, context: Context) -> None:
        self.model_copy(update={"done": True, "waits_since": 0.0}).store(context)
