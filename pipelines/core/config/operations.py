"""Around the nights: the watch over live traffic, prices, and who is told."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator, model_validator

from pipelines.core.config.base import Amount, Cron, OpenShare, Port, Positive, PositiveFloat, Section, Share
from pipelines.core.config.cron import most_runs_a_day


class Watch(Section):
    """`[watch]`: the comparison of live traffic with the traffic before."""

    # Cron, UTC; empty: only people start it. The more runs a day, the more relabellings each needs.
    schedule: Cron = "0 * * * *"
    window_h: PositiveFloat = 24.0  # a whole day: hours of the day differ without any drift
    alpha_day: OpenShare = 0.05  # share of days without change that have a false alarm or more
    max_rows: Positive = 500  # cap of each side of a comparison, sampled with the seed
    # Rows of one person that count on a side, at most, if there are 10 people or more; of ratings, the first.
    rows_per_person: Positive = 3
    smallest_effect: Share = 0.05  # a column moved if its effect, from 0 to 1, is this much beyond chance
    min_rows: Positive = 100  # fewer on either side: cannot conclude, no alarm
    min_rated: Positive = 30  # the same, for feedback
    max_error_ratio: OpenShare = 0.01  # attempts that failed
    max_latency_s: PositiveFloat = 2.0  # of 99 in 100 answers
    pushgateway: str = ""  # URL; empty: metrics stay in the ledger and the report
    report_days: Positive = 30  # older reports are deleted; the ledger's rows stay

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, data: Any) -> Any:
        if isinstance(data, dict) and "looks_per_day" in data:
            raise ValueError("remove looks_per_day: it is counted from schedule now")
        return data

    @field_validator("schedule")
    @classmethod
    def _readable(cls, schedule: str) -> str:
        if schedule:
            most_runs_a_day(schedule)
        return schedule

    @property
    def looks_per_day(self) -> int:
        """Runs of `schedule` on a day, which share `alpha_day`; hourly where only people start it."""
        return most_runs_a_day(self.schedule or "@hourly")


class Retention(Section):
    """`[retention]`: how long people's data are kept. Each night, and `nightshift prune`, removes older."""

    deliveries_days: Positive = 60  # nights that the gateway delivered; their clean rows are in the lake
    run_data_days: Positive = 90  # a run's rows, features, training examples and generated answers
    scratch_days: Positive = 7  # checkpoints and other files of a step that was ended
    cache_gib: PositiveFloat = 20.0  # copies of base models and of runs that lie elsewhere


class Cost(Section):
    """`[cost]`: what the machine costs."""

    currency: str = "EUR"  # of the prices
    cpu_hour: Amount = 0.04  # price of one core for an hour
    gpu_hour: Amount = 2.5  # price of one GPU for an hour


class Notify(Section):
    """`[notify]`: who is told that a person is needed. URL and password are secrets, so files hold them."""

    file: str = "{home}/notices.jsonl"  # one JSON line a notice; empty for none
    webhook_url_file: str = ""  # a file with the URL of a Slack-compatible incoming webhook
    email_to: tuple[str, ...] = ()  # addresses; empty for no e-mail
    email_from: str = "nightshift@localhost"  # the sender's address
    smtp_host: str = "localhost"  # the mail server
    smtp_port: Port = 25  # of the mail server
    smtp_tls: Literal["none", "starttls", "tls"] = "none"  # tls: from the first byte
    smtp_user: str = ""  # empty: no login
    smtp_password_file: str = ""  # a file with the user's password
    timeout_s: PositiveFloat = 10.0  # a silent webhook or mail server is given up after this
    night_late_s: Positive = 21_600  # a nightly run that has not ended this long after it was queued is late
