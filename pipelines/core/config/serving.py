"""The gateway that answers users, and the engine behind it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipelines.core.config.base import Amount, Count, Positive, PositiveFloat, Section, ServerAddress
from pipelines.core.config.redis import RedisURL


class Serving(Section):
    """`[serving]`: the engine behind the gateway."""

    engine: Literal["embedded", "openai"] = (
        "embedded"  # in the gateway's process, or a server with OpenAI's API
    )
    slots: Positive = 16  # embedded: answers under way at once
    queue: Positive = 64  # embedded: requests that wait for a slot; one more is refused
    queue_s: PositiveFloat = 10.0  # embedded: a request that waits longer for a slot is refused
    gather_ms: Amount = 2.0  # embedded: an idle engine waits this long for a burst
    prefill_tokens: Positive = 512  # embedded: prompt tokens of one step, which those under way wait for
    url: ServerAddress = "http://127.0.0.1:8001"  # openai: the server, with or without /v1
    served_base: str = ""  # openai: the base model's name there; empty asks the server
    api_key_file: str = ""  # openai: a file with the bearer token
    guided: Literal["structured_outputs", "guided_choice"] = (
        "structured_outputs"  # openai: how the server takes choices; guided_choice is vLLM before 0.12
    )
    connect_timeout_s: PositiveFloat = 5.0  # openai: to open a connection
    read_timeout_s: PositiveFloat = 30.0  # openai: between two pieces of an answer
    probe_interval_s: Positive = 3_600  # between two proofs that an adapter is what the engine serves
    probe_tolerance: Annotated[float, Field(gt=0, lt=0.5)] = (
        0.25  # so far may the engine's answers be from the adapter's; base and adapter are 1 apart
    )
    probe_by: Literal["logprobs", "answers"] = (
        "logprobs"  # answers: by texts alone, which is weaker, for a server without log-probabilities
    )


class TenantLimits(Section):
    """`[gateway.limits]`: what one tenant may use."""

    requests_per_minute: Positive = 600  # more are refused with 429
    tokens_per_day: Positive = 1_000_000  # prompt and answer


class Gateway(Section):
    """`[gateway]`: the service that answers users. Tenants' limits hold for all gateways of one Redis."""

    host: str = "127.0.0.1"  # the address it listens on
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000  # 0 takes a free one
    issuer: str = "nightshift-dev"  # of the tokens; `python -m gateway.dev_token` is a small one
    audience: str = "nightshift"  # that a token has to name
    jwks: str = "{home}/gateway/dev/jwks.json"  # the issuer's public keys: a file or an http(s) URL
    jwks_ttl_s: Positive = 300  # the keys are read again when older
    jwks_retry_s: PositiveFloat = 5.0  # at most one reading in this time, however many unknown keys are shown
    clock_skew_s: Count = 30  # by which a token may be too early or too late
    limits: TenantLimits = TenantLimits()  # of every tenant
    tenants: dict[str, TenantLimits] = Field(default={})  # those with limits of their own
    max_connections: Positive = 512  # more close the oldest ones that have not sent a whole request
    max_header_bytes: Positive = 32_768  # of a request's address and headers
    max_body_bytes: Positive = 262_144  # of a request
    max_prompt_bytes: Positive = 32_768  # of all its messages
    max_tokens: Positive = 256  # that one answer may ask for; model.max_new_tokens where that is more
    concurrency: Positive = 16  # answers under way of one adapter
    queue: Count = 64  # requests that wait for one adapter; more get 429
    timeout_s: PositiveFloat = 30.0  # from request to the whole answer, fallbacks included
    attempt_timeout_s: PositiveFloat = 20.0  # of one adapter
    floor_tokens_per_s: PositiveFloat = 1.0  # a time-out above this rate of all answers is overload, no fault
    client_timeout_s: PositiveFloat = 30.0  # a client that sends or reads slower than this is cut off
    drain_s: Positive = 30  # on SIGTERM answers under way get this long
    breaker_failures: Positive = 5  # in a row open an adapter's circuit
    breaker_reset_s: PositiveFloat = 10.0  # then one request tries again
    cache_entries: Count = 10_000  # 0 caches nothing
    cache_ttl_s: Positive = 3_600  # older entries are answered anew
    redis_url: RedisURL = ""  # cache and limits of all gateways together, redis[s]://HOST:PORT/NUMBER
    redis_password_file: str = ""  # a file with its password; empty: it asks for none
    shadow_concurrency: Positive = 2  # copies that the shadow answers at once
    shadow_queue: Count = 32  # copies that wait for the shadow; more are dropped
    url: ServerAddress = ""  # where other gateways reach this one; empty: http://, its host's name and port
    heartbeat_s: PositiveFloat = 1.0  # between two signs of life in PostgreSQL
    contact_s: PositiveFloat = (
        10.0  # a gateway without any for so long does not live, for the others or itself
    )
    poll_s: PositiveFloat = 0.2  # between two readings of the ledger's traffic split
    journal_commit_ms: Count = 20  # answers of this long are committed together; kill -9 loses at most these
    journal_queue: Positive = 10_000  # rows that wait for the journal's writer
    spool_gib: PositiveFloat = 10.0  # PostgreSQL: rows that have not arrived there; more are lost and counted
    feedback_wait_s: PositiveFloat = (
        3_600.0  # PostgreSQL: feedback whose answer has not arrived by then counts
    )
    journal_days: Positive = 60  # older rows are deleted, delivered or not
