"""Great Expectations' Data Docs, made reproducible: equal results give equal bytes, nothing is fetched."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from functools import partial
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.core.expectation_validation_result import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
)
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context import EphemeralDataContext
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)

LOGO = re.compile(r"https://great-expectations-web-assets[^\"]*")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def write_docs(
    context: EphemeralDataContext,
    folder: Path,
    night: date,
    checked: dict[str, list[ExpectationValidationResult]],
) -> None:
    """Write `index.html` and its pages for suite name -> results of its rules."""
    backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}
    site: Any = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": backend,
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    context.add_data_docs_site("nightshift", site)
    at = datetime.combine(night, time(), UTC)
    for name, results in checked.items():
        key = ValidationResultIdentifier(
            ExpectationSuiteIdentifier(name), RunIdentifier(run_name=str(night), run_time=at), name
        )
        context.validation_results_store.set(key, _suite_result(name, results, at))
    context.build_data_docs(site_names=["nightshift"])
    _settle(folder)


def _suite_result(
    name: str, results: list[ExpectationValidationResult], at: datetime
) -> ExpectationSuiteValidationResult:
    good = sum(bool(result.success) for result in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": good,
        "unsuccessful_expectations": len(results) - good,
        "success_percent": 100 * good / len(results),
    }
    return ExpectationSuiteValidationResult(
        success=good == len(results),
        results=results,
        suite_name=name,
        statistics=statistics,
        meta={
            "great_expectations_version": gx.__version__,
            "run_id": {"run_name": str(at.date()), "run_time": at.isoformat()},
            "validation_time": at.isoformat(),
        },
    )


def _settle(folder: Path) -> None:
    """Number the element ids, and take the logo from the folder.

    Great Expectations draws random ids, and its pages fetch the logo from its own host.
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
