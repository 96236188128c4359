from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from nightshift.params import plan

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EMPTY = {"night": None, "force": False, "epochs": None, "rank": None, "dry_run": False}


def test_an_empty_form_means_the_last_day_that_ended():
    assert plan(EMPTY, NOON).night == date(2026, 3, 1)
    assert plan(EMPTY, NOON).run_id == "2026-03-01"


def test_a_filled_field_becomes_a_setting_and_another_run():
    changed = plan({**EMPTY, "night": "2026-01-03", "force": True, "epochs": 3, "dry_run": True}, NOON)
    assert changed.overrides == {"decide.force": True, "train.epochs": 3, "register.dry_run": True}
    assert changed.run_id.startswith("2026-01-03-")
    assert changed.run_id != plan({**EMPTY, "night": "2026-01-03", "force": True}, NOON).run_id


def test_an_alert_is_the_cause_and_makes_another_run():
    alerted = plan({**EMPTY, "cause": "alert:InputDrift", "ruling": "0" * 32}, NOON)
    assert alerted.overrides == {"decide.cause": "alert:InputDrift", "decide.ruling": "0" * 32}
    assert alerted.run_id != plan(EMPTY, NOON).run_id


def test_a_night_ends_where_the_log_lives():
    """At 02:00 UTC it is still the evening before in New York, so that the day there has not ended."""
    run_after = datetime(2026, 3, 2, 2, tzinfo=UTC)
    assert plan(EMPTY, run_after).night == date(2026, 3, 1)
    assert plan(EMPTY, run_after, ZoneInfo("America/New_York")).night == date(2026, 2, 28)
