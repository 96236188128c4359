"""The page on which people review evaluation items, and the one thing that a page writes: their word.

Only who may start `nightly_retrain` gets in, as items hold what users wrote. Another site cannot send a
review: the session's cookie is SameSite=Lax, only JSON is taken, and browsers say which site sends it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import APIRouter, Depends, Header, HTTPException
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from nightshift.page.html import page_of, root
from nightshift.page.suite import suite_model
from nightshift.settings import Settings
from pipelines.core.config import Config
from pipelines.core.errors import InputError, UnavailableError
from pipelines.stores.suites import reviews
from pipelines.stores.suites.proposals import Proposal, proposals

MOST_TEXT = 65_536  # characters of an answer
router = APIRouter()
reviewer = Depends(requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id="nightly_retrain"))


class Word(BaseModel):
    """What a person says of one item. `seen`: how many words on it the page knew of."""

    item: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    seen: Annotated[int, Field(ge=0)]
    action: Literal["accept", "drop", "reopen"]
    answer: Annotated[str, Field(max_length=MOST_TEXT)] | None = None


def from_this_site(
    content_type: Annotated[str, Header()] = "", sec_fetch_site: Annotated[str, Header()] = "none"
) -> None:
    """Refuses what another site could send. A program that is no browser names no site."""
    is_json = content_type.partition(";")[0].strip().lower() == "application/json"
    if not is_json or sec_fetch_site not in ("same-origin", "none"):
        raise HTTPException(403, "A review is JSON that this page sends.")


@router.get("/suite", dependencies=[reviewer], response_class=HTMLResponse)
def suite() -> HTMLResponse:
    """The items that wait for a person."""
    config = Settings.from_environment().config
    found, said = proposals(config), reviews.reviews(config)
    return page_of("suite.html.j2", suite_model(found, said, config.task, datetime.now(UTC), root()))


@router.post("/suite/review", dependencies=[reviewer, Depends(from_this_site)])
def review(word: Word, user: GetUserDep) -> dict[str, Any]:
    """Write a person's word to the ledger. 409 where the item, or the answer, cannot be taken so."""
    config = Settings.from_environment().config
    one = proposals(config).get(word.item)
    if one is None:
        raise HTTPException(404, f"The item {word.item[:12]} was never proposed. Load the page again.")
    try:
        done = _said(config, one, word, user.get_name())
    except InputError as error:
        raise HTTPException(409, str(error)) from None
    except UnavailableError as error:
        raise HTTPException(503, str(error)) from None
    return {"verdict": done.verdict, "number": done.number, "actor": done.actor}


def _said(config: Config, one: Proposal, word: Word, actor: str) -> reviews.Review:
    if word.action == "accept":
        return reviews.accept(config, one, word.seen, actor, word.answer)
    if word.action == "drop":
        return reviews.drop(config, one, word.seen, actor)
    return reviews.reopen(config, one, word.seen, actor)
