"""Reading a night's data: ingest, validate, features, drift, and the sample workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta, tzinfo
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.core.config.base import Count, Cron, Positive, Section, Share
from pipelines.core.config.columns import RatingScale, known_encoding, known_zone, mapped_columns, zone_of
from pipelines.core.config.redis import RedisURL
from pipelines.core.interactions import COLUMNS, CONSENT, CONSTANTS, FEEDBACK_COLUMNS, READ_BESIDES

SAMPLE_FOLDER = "{home}/sample/interactions/dt={night}"  # where the sample workload lays out a night
SAMPLE_FILES = f"{SAMPLE_FOLDER}/*.parquet"


Format = Literal["nightshift", "openai", "sharegpt", "langfuse", "litellm"]
Names = dict[str, str]
MOST_LATE_DAYS = 3_660  # ten years
CSV_NULLS = ("", "NULL", "null", "None", "NaN", "nan", "NaT", "<NA>", "\\N")


class Sample(Section):
    """`[sample]`: real questions, laid over nights, answered by the current model."""

    data: Literal["exam-questions", "api-operations"] = "exam-questions"  # MedMCQA's, or botocore's
    first_night: date = date(2026, 1, 1)  # the workload's calendar starts here
    nights: Positive = 30  # length of the workload
    rows_per_night: Positive = 240  # questions asked each night
    shift_night: Positive = 8  # from this night (counted from 1) the mix of topics is another
    holdout_per_label: Positive = 24  # questions of each topic that are kept for the frozen suite
    feedback_share: Share = 0.9  # of answers, rated by users
    tenants: tuple[str, ...] = ("north-clinic", "south-clinic", "campus", "telehealth")  # who asks
    seed: int = 7  # of everything that is drawn

    @property
    def last_night(self) -> date:
        return self.first_night + timedelta(days=self.nights - 1)

    def has(self, night: date) -> bool:
        return self.first_night <= night <= self.last_night

    def next_night(self, decided: Iterable[date]) -> date:
        """The night after the last decided one of the sample; its first where none is."""
        ours = [night for night in decided if self.has(night)]
        return max(ours, default=self.first_night - timedelta(days=1)) + timedelta(days=1)


class Ingest(Section):
    """`[ingest]`: where a night's interactions come from. A `source` without `kind` means files."""

    kind: Literal["sample", "files", "gateway"] = "sample"  # gateway: the journal of this home's gateway
    source: str = ""  # files: a URI or glob; may hold {home} and {night}
    format: Format = "nightshift"  # our own names, or the form that another product exports
    columns: Names = Field(default={})  # our name = theirs; a dot leads into it: rating = "feedback.score"
    ignore: tuple[str, ...] = ()  # columns that speak of consent or a system prompt, and are not meant here
    defaults: Names = Field(default={})  # of tenant, adapter, route, locale and channel, where a row has none
    opt_out_if_missing: bool | None = None  # a row without opt_out, in a log that has it; unset: refused
    rating: RatingScale = RatingScale()  # which values are likes and dislikes
    feedback: str = ""  # files of feedback that comes apart from the answers: a URI or glob, like source
    feedback_columns: Names = Field(default={})  # like columns, for these files
    feedback_rating: RatingScale | None = None  # the scale of these files; unset: the same as rating
    timezone: str = "UTC"  # where a night begins and ends at midnight, and times without a zone belong
    encoding: str = ""  # of text files without a byte order mark, such as "windows-1252"; empty: UTF-8
    csv_nulls: tuple[str, ...] = CSV_NULLS  # in CSV, without quotes: missing
    late_days: Annotated[Count, Field(le=MOST_LATE_DAYS)] = (
        3  # rows up to this much older than the night still join their own day
    )
    memory_mib: Positive = 1024  # DuckDB's limit
    max_text_bytes: Positive = 65_536  # longer prompts or completions go to quarantine

    @property
    def zone(self) -> tzinfo:
        """The time zone of `timezone`."""
        return zone_of(self.timezone)

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        return mapped_columns(columns, (*COLUMNS, *READ_BESIDES))

    @field_validator("feedback_columns")
    @classmethod
    def _known_feedback(cls, columns: dict[str, str]) -> dict[str, str]:
        return mapped_columns(columns, (*FEEDBACK_COLUMNS, *CONSENT))

    @field_validator("defaults")
    @classmethod
    def _known_defaults(cls, defaults: dict[str, str]) -> dict[str, str]:
        return mapped_columns(defaults, CONSTANTS)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        return known_encoding(name)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return known_zone(name)

    @model_validator(mode="before")
    @classmethod
    def _kind_of_source(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("source") and "kind" not in data:
            return {**data, "kind": "files"}
        return data

    @model_validator(mode="after")
    def _source_of_files(self) -> Ingest:
        if old := kind_of_old_source(self.source):
            raise ValueError(f'replace source = "{self.source}" by kind = "{old}"')
        if self.kind == "files" and not self.source:
            raise ValueError('kind = "files" needs a source, such as "{home}/logs/dt={night}/*.parquet"')
        if self.kind != "files" and self.source:
            raise ValueError(
                f'remove source, or set kind = "files": kind = "{self.kind}" knows where its files are'
            )
        return self


def kind_of_old_source(source: str) -> str | None:
    """The kind that a `source` stood for before there was `kind`; None where it named files."""
    if source.startswith("{home}/sample/"):
        return "sample"
    return "gateway" if source == "gateway" else None


def with_kind(ingest: Mapping[str, Any]) -> dict[str, Any]:
    """An `[ingest]` section as old manifests recorded it, in today's keys."""
    if "kind" in ingest or "source" not in ingest:
        return dict(ingest)
    kind = kind_of_old_source(ingest["source"])
    return {**ingest, "kind": kind or "files", "source": "" if kind else ingest["source"]}


class Validate(Section):
    """`[validate]`: when a night's rows are good enough to join the lake."""

    min_rows: Positive = 50  # fewer: the rows are kept, and the night waits for more
    max_quarantined_share: Share = 0.2  # more: the night is held
    max_latency_ms: Positive = 600_000  # a larger latency is out of range
    chunk_rows: Positive = 250_000  # rows that are checked at once


class Features(Section):
    """`[features]`: activity of people and tenants, kept in the online store."""

    windows_days: tuple[Positive, ...] = (1, 7, 28)  # each gets its own features
    parity_entities: Positive = 50  # entities of each kind whose online and offline values are compared
    parity_tolerance: Annotated[float, Field(ge=0, lt=1)] = (
        1e-6  # relative difference that still counts as equal
    )
    max_age_hours: Positive = 48  # older online features are stale
    registry_url: str = "sqlite:///{home}/feast/registry.db"  # Feast's registry; or postgresql+psycopg://
    online_url: RedisURL = ""  # redis[s]://HOST:PORT/NUMBER; empty: an SQLite file of the home
    online_password_file: str = ""  # a file with that Redis's password; empty: it asks for none
    # Cron, UTC, of the DAG feature_sync; empty: only people start it, and nights fill the online store.
    sync_schedule: Cron = "30 * * * *"


class Drift(Section):
    """`[drift]`: whether a night is farther from other nights than nights usually are."""

    # Past nights that tonight is compared with, at most; whole weeks. With fewer than 7: cannot conclude.
    reference_nights: Positive = 21
    max_rows: Positive = 300  # rows of a night that are compared, at most; drawn with the seed, by person
    # Rows of one person that count on a night, at most, if the compared nights have 10 people or more.
    rows_per_person: Positive = 3
    alpha: Share = 0.05  # share of nights without a change that raise drift, at most
    smallest_effect: Share = 0.05  # a column moved if it is this much farther than usual, from 0 to 1
    min_rows: Positive = 40  # a night with fewer is not compared, and no drift is claimed

    @model_validator(mode="before")
    @classmethod
    def _without_relabellings(cls, data: Any) -> Any:
        """Profiles and records of older versions hold `permutations`, of tests that are not made any more."""
        return {k: v for k, v in data.items() if k != "permutations"} if isinstance(data, Mapping) else data
