"""The data contract of the interaction log, as Great Expectations suites. Edit it here, as code.

There are two suites. A row that fails a rule of `rows` is quarantined, with the rule's `reason`. A rule of
`night` that fails stops the night; it checks counts over the rows that passed. Rules see the lengths and
counts of the profiles below, and no texts. `ingest` has read every value by then: a rating is -1, 0 or 1, a
role is known, a blank correction is none.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation

from pipelines.core.config import Config
from pipelines.core.interactions import ROUTES
from pipelines.data.quality.limits import LANGUAGE, LONGEST, MOST_TOKENS, PROMPTING

# DuckDB SQL over the interaction log: the columns that row rules may name.
ROW_PROFILE = """
    len(request_id) AS request_id_characters,
    count(*) OVER (PARTITION BY request_id) AS copies_of_request_id,
    len(tenant) AS tenant_characters,
    len(subject_id) AS subject_id_characters,
    messages[-1].role AS last_role,
    len(trim(messages[-1].content)) AS prompt_characters,
    len(trim(completion)) AS completion_characters,
    len(adapter) AS adapter_characters,
    route,
    locale,
    len(channel) AS channel_characters,
    tokens_in,
    tokens_out,
    latency_ms
"""
# Aggregates: the columns that rules for the whole night may name. `quarantined_share` is added to them.
NIGHT_PROFILE = """
    count(*) AS rows,
    count(rating) AS rated_rows,
    count(DISTINCT ts) AS distinct_times,
    count(DISTINCT hash(messages)) AS distinct_prompts,
    count(DISTINCT latency_ms) AS distinct_latencies
"""
# What earlier nights had: a rule against a column that stands still holds only where it moved before.
HISTORY_PROFILE = """
    count(rating) > 0 AS rated_rows,
    coalesce(min(ts) < max(ts), false) AS distinct_times,
    coalesce(min(hash(messages)) < max(hash(messages)), false) AS distinct_prompts,
    coalesce(min(latency_ms) < max(latency_ms), false) AS distinct_latencies
"""


def row_suite(config: Config) -> ExpectationSuite:
    """Rules for each row. Nulls pass (ingest has refused them where a value is required)."""
    limits = config.validate_
    return ExpectationSuite(
        name="rows",
        expectations=[
            _between("copies_of_request_id", 1, 1, "request_id is not unique"),
            *(
                _between(f"{name}_characters", 1, most, f"{name} is empty or too long")
                for name, most in LONGEST.items()
            ),
            _in_set("last_role", list(PROMPTING), "the last message is not the user's"),
            _between("prompt_characters", 1, None, "the prompt is empty"),
            _between("completion_characters", 1, None, "completion is empty"),
            _in_set("route", list(ROUTES), "route is unknown"),
            gxe.ExpectColumnValuesToMatchRegex(
                column="locale",
                regex=LANGUAGE,
                meta={"reason": "locale is not a language tag"},
            ),
            _between("tokens_in", 1, MOST_TOKENS, "tokens_in is out of range"),
            _between("tokens_out", 0, MOST_TOKENS, "tokens_out is out of range"),
            _between("latency_ms", 0, limits.max_latency_ms, "latency_ms is out of range"),
        ],
    )


def night_suite(config: Config, moved: Collection[str]) -> ExpectationSuite:
    """Rules for the night as a whole, over the rows that passed.

    `moved`: the measures that were no constant in earlier nights; no other can be stuck.
    """
    share = _between(
        "quarantined_share", 0, config.validate_.max_quarantined_share, "too many rows in quarantine"
    )
    stuck = {
        "rated_rows": _between("rated_rows", 1, None, "not one row has a rating: has the feedback stopped?"),
        "distinct_times": _between("distinct_times", 2, None, "ts is stuck: every row has the same time"),
        "distinct_prompts": _between(
            "distinct_prompts", 2, None, "messages is stuck: every row has the same prompt"
        ),
        "distinct_latencies": _between(
            "distinct_latencies", 2, None, "latency_ms is stuck: every row has the same value"
        ),
    }
    return ExpectationSuite(
        name="night", expectations=[share, *(rule for name, rule in stuck.items() if name in moved)]
    )


def _between(column: str, low: float | None, high: float | None, reason: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeBetween(
        column=column, min_value=low, max_value=high, meta={"reason": reason}
    )


def _in_set(column: str, values: list[Any], reason: str) -> Expectation:
    return gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values, meta={"reason": reason})
