"""When somebody has to act on a pod, its log's lines, and how a command ends when it is told to."""

import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))

from nightshift.launchers.pods.logs import new_lines, since_s

from pipelines.core.pods.watch import StartLimits, needs_events, waited_s, wants_attention

LIMITS = StartLimits(schedule_s=600, startup_s=300, broken_start_s=60)
MADE, AT = "2026-01-01T02:00:00Z", 1_767_232_800  # the same in Unix seconds
NO_MAP = [{"reason": "FailedMount", "message": 'configmap "nightshift-profile" not found'}]


def pending(scheduled_at=None, waiting=None):
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    if scheduled_at:
        conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": scheduled_at}]
    status = {"phase": "Pending", "conditions": conditions}
    if waiting:
        status["containerStatuses"] = [{"name": "step", "state": {"waiting": {"reason": waiting}}}]
    return {"metadata": {"name": "p", "creationTimestamp": MADE}, "status": status}


@pytest.mark.parametrize(
    ("pod", "events", "now", "wanted"),
    [
        (pending(), [], 599, False),
        (pending(), [], 601, True),
        (pending("2026-01-01T02:05:00Z"), [], 599, False),
        (pending("2026-01-01T02:05:00Z"), [], 601, True),
        (pending(MADE, "ImagePullBackOff"), [], 59, False),
        (pending(MADE, "ImagePullBackOff"), [], 61, True),
        (pending(MADE, "ContainerCreating"), [], 61, False),
        (pending(MADE, "ContainerCreating"), NO_MAP, 61, True),
        ({"metadata": {}, "status": {"phase": "Running"}}, [], 1e9, False),
        ({"metadata": {}, "status": {"phase": "Failed"}}, [], 0, True),
    ],
)
def test_a_pod_wants_attention(pod, events, now, wanted):
    assert wants_attention(pod, events, AT + now, LIMITS) is wanted


def test_events_are_asked_only_where_they_help():
    assert not needs_events(pending(), AT + 500, LIMITS)
    assert not needs_events(pending(MADE), AT + 30, LIMITS)
    assert needs_events(pending(MADE), AT + 61, LIMITS)
    assert waited_s(pending(), AT + 42) == 42


LOG = """2026-01-01T02:00:00.123456789Z one
2026-01-01T02:00:01.5Z two
  its second line
2026-01-01T02:00:02Z three"""


def test_no_line_of_a_log_is_told_twice():
    every = list(new_lines(LOG.splitlines(), None))
    assert [text for _, text in every] == ["one", "two", "  its second line", "three"]
    after = list(new_lines(LOG.splitlines(), every[0][0]))
    assert [text for _, text in after] == ["two", "  its second line", "three"]
    assert list(new_lines(LOG.splitlines(), every[-1][0])) == []


def test_a_log_is_asked_for_a_little_more_than_is_new():
    assert since_s(None, datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert since_s(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)) == 7


def test_a_command_ends_when_it_is_told_to_also_as_process_1():
    program = """
import pipelines.cli.main, time
def main():
    try:
        print("at work", flush=True)
        time.sleep(60)
    finally:
        print("put away", flush=True)
pipelines.cli.main.main = main
import pipelines.__main__
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "at work\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "put away\n"
    assert process.returncode == 128 + signal.SIGTERM
