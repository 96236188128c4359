"""Great Expectations: run a suite over chunks of rows and collect the rows that fail.

Rules run one by one and keep row numbers only, so that a million failing values cost megabytes. Nothing is
sent anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.core.expectation_validation_result import ExpectationValidationResult
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.datasource.fluent.interfaces import Batch

from pipelines.core.errors import ConfigError
from pipelines.data.quality.docs import write_docs

EXAMPLES = 20  # unexpected values shown for each rule


@dataclass
class Rule:
    """One expectation and what it found over all chunks."""

    reason: str
    result: ExpectationValidationResult
    rows: list[np.ndarray] = field(default_factory=list)  # numbers of the failing rows, one array a chunk

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of the expectation: column, min_value ..."""
        assert self.result.expectation_config is not None
        return self.result.expectation_config.kwargs

    @property
    def failed(self) -> int:
        return sum(len(rows) for rows in self.rows)


class Checker:
    """Runs suites in a context that lives in memory."""

    def __init__(self) -> None:
        stores = DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
        )
        self._context: EphemeralDataContext = gx.get_context(mode="ephemeral", project_config=stores)
        self._context.enable_analytics(False)
        self._context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = self._context.data_sources.add_pandas("nightshift")
        self._whole = source.add_dataframe_asset("interactions").add_batch_definition_whole_dataframe("chunk")

    def check(self, suite: gx.ExpectationSuite, chunks: Iterable[pd.DataFrame], row: str) -> list[Rule]:
        """Check every row; the column `row` numbers them. Raises ConfigError for a rule that cannot run."""
        rules: list[Rule] = []
        for number, chunk in enumerate(chunks):
            batch = self._whole.get_batch({"dataframe": chunk})
            for place, expectation in enumerate(suite.expectations):
                result, rows = _run(batch, expectation, row)
                if number == 0:
                    reason = (expectation.meta or {}).get("reason", str(expectation.expectation_type))
                    rules.append(Rule(reason, result, [rows]))
                else:
                    _merge(rules[place].result, result)
                    rules[place].rows.append(rows)
        return rules

    def check_one(self, suite: gx.ExpectationSuite, values: dict[str, float]) -> list[Rule]:
        """Check a single row of values."""
        return self.check(suite, [pd.DataFrame([{"row": 0, **values}])], row="row")

    def write_docs(self, folder: Path, night: date, checked: dict[str, list[Rule]]) -> None:
        """Write Data Docs (`index.html`) for suite name -> rules. Equal results give equal bytes."""
        write_docs(
            self._context, folder, night, {name: [r.result for r in rules] for name, rules in checked.items()}
        )


def _run(batch: Batch, expectation: Any, row: str) -> tuple[ExpectationValidationResult, np.ndarray]:
    wanted = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": [row],
        "partial_unexpected_count": EXAMPLES,
        "return_unexpected_index_query": False,
    }
    result = batch.validate(expectation, result_format=wanted)
    if not result.result:
        raise ConfigError(
            f"Great Expectations cannot run the rule {expectation.expectation_type} on {expectation.column}: "
            f"{result.exception_info}.",
            "Correct pipelines/data/quality/contract.py.",
        )
    failing = result.result.pop("unexpected_index_list", None) or []
    rows = np.fromiter((one[row] for one in failing), dtype=np.int64, count=len(failing))
    for key in ("unexpected_list", "partial_unexpected_index_list", "unexpected_index_column_names"):
        result.result.pop(key, None)
    return result, rows


def _merge(total: ExpectationValidationResult, more: ExpectationValidationResult) -> None:
    """Add one chunk's counts to the result of the chunks before it."""
    a, b = total.result, more.result
    total.success = bool(total.success and more.success)
    for key in ("element_count", "unexpected_count", "missing_count"):
        a[key] += b[key]
    present = a["element_count"] - a["missing_count"]
    a["missing_percent"] = 100 * a["missing_count"] / a["element_count"]
    a["unexpected_percent_total"] = 100 * a["unexpected_count"] / a["element_count"]
    a["unexpected_percent_nonmissing"] = 100 * a["unexpected_count"] / present if present else 0.0
    a["unexpected_percent"] = a["unexpected_percent_nonmissing"]
    a["partial_unexpected_list"] = (a["partial_unexpected_list"] + b["partial_unexpected_list"])[:EXAMPLES]
    counts: dict[Any, int] = {}
    for entry in a["partial_unexpected_counts"] + b["partial_unexpected_counts"]:
        counts[entry["value"]] = counts.get(entry["value"], 0) + entry["count"]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:EXAMPLES]
    a["partial_unexpected_counts"] = [{"value": value, "count": count} for value, count in ranked]
