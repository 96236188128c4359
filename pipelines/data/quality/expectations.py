"""Great Expectations: run a suite over chunks of rows, collect the rows that fail, write Data Docs.

Rules run one by one and keep only row numbers, so a million failing values cost megabytes, and the docs show
a few examples of each. Nothing is sent anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)
from great_expectations.datasource.fluent.interfaces import Batch

from pipelines.core.errors import ConfigError

EXAMPLES = 20  # unexpected values shown for each rule
LOGO = re.compile(r"https://great-expectations-web-assets[^\"]*")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
        """Judge every row; the column `row` numbers them. Raises ConfigError for a rule that cannot run."""
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
        """Judge a single row of values."""
        return self.check(suite, [pd.DataFrame([{"row": 0, **values}])], row="row")

    def write_docs(self, folder: Path, night: date, checked: dict[str, list[Rule]]) -> None:
        """Data Docs (`index.html`) of suite name -> rules. The same night and results give the same bytes."""
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}
        site: Any = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": backend,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        self._context.add_data_docs_site("nightshift", site)
        at = datetime.combine(night, time(), UTC)
        for name, rules in checked.items():
            key = ValidationResultIdentifier(
                ExpectationSuiteIdentifier(name), RunIdentifier(run_name=str(night), run_time=at), name
            )
            self._context.validation_results_store.set(key, _suite_result(name, rules, at))
        self._context.build_data_docs(site_names=["nightshift"])
        _settle(folder)


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


def _suite_result(name: str, rules: list[Rule], at: datetime) -> ExpectationSuiteValidationResult:
    good = sum(bool(rule.result.success) for rule in rules)
    statistics = {
        "evaluated_expectations": len(rules),
        "successful_expectations": good,
        "unsuccessful_expectations": len(rules) - good,
        "success_percent": 100 * good / len(rules),
    }
    return ExpectationSuiteValidationResult(
        success=good == len(rules),
        results=[rule.result for rule in rules],
        suite_name=name,
        statistics=statistics,
        meta={
            "great_expectations_version": gx.__version__,
            "run_id": {"run_name": str(at.date()), "run_time": at.isoformat()},
            "validation_time": at.isoformat(),
        },
    )


def _settle(folder: Path) -> None:
    """Make the pages comparable and quiet: numbered element ids, and the logo from the folder.

    Great Expectations draws random ids, and fetches its logo from its own host with the time of day.
    """
    for page in folder.rglob("*.html"):
        ids: dict[str, str] = {}
        text = UUID.sub(partial(_numbered, ids), page.read_text(encoding="utf-8"))
        up = "../" * (len(page.relative_to(folder).parts) - 1)
        page.write_text(LOGO.sub(f"{up}static/images/logo-long.png", text), encoding="utf-8")
    for film in folder.rglob("*.gif"):
        film.unlink()


def _numbered(ids: dict[str, str], found: re.Match[str]) -> str:
    return ids.setdefault(found[0], f"e{len(ids)}")
