"""New and learned rows of the lake that may be trained on, before they are compared with one another."""

from __future__ import annotations

from datetime import date

from pipelines.core.config import Config
from pipelines.core.config.training import Objective
from pipelines.core.facts.decide import DecideFacts
from pipelines.data import open_lake
from pipelines.data.feedback_log import feedback_of, labelled_rows
from pipelines.data.held_back import held_back_keys
from pipelines.policy.night.caps import limit_of_a_person
from pipelines.policy.night.dataset import Part, holds_any
from pipelines.policy.night.feedback import Read, is_kept_back

POOL = 4  # rows to learn from that are read, as a multiple of max_examples; this bounds time and memory


def new_and_learned(config: Config, night: date, decided: DecideFacts, read: Read) -> tuple[Part, Part]:
    """The rows of the nights that are learned from tonight, and of all other ones. `read`: see `labelled`."""
    delivered = set(open_lake(config).deliveries(night))
    if decided.deliveries is None:
        new = {one for one in delivered if decided.window.first <= one}
    else:
        new = set(decided.deliveries)
    share, of = people_kept_back(config, night, decided.objective), decided.objective
    return _read(config, night, new, share, read, of), _read(config, night, delivered - new, share, read, of)


def people_kept_back(config: Config, night: date, objective: Objective) -> float:
    """The share of people who are kept back: nobody, until enough people gave rows."""
    lake = open_lake(config)
    given = feedback_of(lake, lake.deliveries(night), as_of=night)
    return 0.0 if limit_of_a_person(given.people[objective], 1) is None else config.curate.people_kept_back


def _read(
    config: Config, night: date, nights: set[date], share: float, read: Read, objective: Objective
) -> Part:
    """Rows to learn from that these nights delivered, without those that were ever taken for a suite.

    `share` of people are kept back.
    """
    settings = config.curate
    most, lake = POOL * settings.max_examples, open_lake(config)
    system, seed = config.task.system_prompt, config.seed
    part = labelled_rows(lake, nights, night, most, settings.rows_per_person, seed, read, system, objective)
    held = held_back_keys(config)
    part = part.without([place for place, row in enumerate(part.rows) if holds_any(row, held)], "held_back")
    theirs = [
        place for place, row in enumerate(part.rows) if is_kept_back(row["tenant"], row["subject_id"], share)
    ]
    return part.without(theirs, "of_people_kept_back")
