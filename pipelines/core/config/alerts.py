"""Alerts that come in over HTTP, and what they start."""

from __future__ import annotations

from pydantic import model_validator

from pipelines.core.config.base import Positive, PositiveFloat, Section


class AlertRule(Section):
    """When alerts of one cause lead to something, and how soon again."""

    k: Positive = 1  # windows in which it fired, of the last n; Prometheus' `for` has filtered already
    n: Positive = 1  # windows that are looked at
    window_s: Positive = 3_600  # length of one window
    cool_down_s: Positive = 14_400  # no second action within this

    @model_validator(mode="after")
    def _k_of_n(self) -> AlertRule:
        if self.k > self.n:
            raise ValueError(f"k is {self.k}, more than n, {self.n}")
        return self


class Alerts(Section):
    """`[alerts]`: how alerts come in, and one rule for each cause."""

    token_file: str = "{home}/alerts/token"  # the bearer token of whoever may post; `make setup` makes it
    hmac_key_file: str = "{home}/alerts/hmac.key"  # or they sign with this key
    max_skew_s: Positive = 300  # older or newer signatures are refused; the same body again within it is one
    max_body_bytes: Positive = 16_777_216  # of a delivery: 5,000 alerts of 3 kB (Alertmanager's max_alerts)
    body_timeout_s: Positive = 10  # to send it
    lock_wait_s: PositiveFloat = 5.0  # for the ledger; then the sender is asked to come again
    poll_s: PositiveFloat = 1.0  # between two looks of the trigger at the inbox
    recheck_s: Positive = 600  # what waits, and runs that were not started, are looked at again
    expires_s: Positive = 86_400  # an alert that nobody repeats counts as over
    after_promotion_s: Positive = 3_600  # a serving regression that began so soon leads to a rollback
    start_within_s: Positive = 86_400  # a run that was asked for and never began is started up to this late
    data_fault: AlertRule = AlertRule()  # holds training
    drift: AlertRule = AlertRule(cool_down_s=86_400)  # asks for a night
    quality: AlertRule = AlertRule(cool_down_s=86_400)  # asks for a night
    serving: AlertRule = AlertRule(cool_down_s=3_600)  # rolls back, soon after a promotion
    overload: AlertRule = AlertRule(cool_down_s=3_600)  # tells people to scale
    features: AlertRule = AlertRule()  # tells a person
    operations: AlertRule = AlertRule()  # tells a person
    cost: AlertRule = AlertRule(cool_down_s=86_400)  # tells a person
