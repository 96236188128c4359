"""What a judge and people were asked is told apart by all that they saw."""

import json
from datetime import UTC, datetime

import pytest

from pipelines.core.config import Config
from pipelines.evaluation.judges.ask import Pair
from pipelines.evaluation.judges.choices import keep_comparison
from pipelines.evaluation.judges.prompt import messages
from pipelines.evaluation.judges.verdicts import KeptReplies, Question
from pipelines.operations.judge.label import _lines, labels_of

AT = datetime(2026, 1, 5, tzinfo=UTC)


def config_for(home):
    settings = {"profile": "test", "home": str(home), "model": {"max_new_tokens": 32}}
    judge = {"url": "http://127.0.0.1:9/v1", "model": "j"}
    task, register = {"kind": "generate"}, {"name": "m"}
    return Config.model_validate({**settings, "judge": judge, "task": task, "register": register})


def talk(name="beds", ward="Surgery", role="tool", told="3 beds", ids="1"):
    calls = [{"id": ids, "type": "function", "function": {"name": name, "arguments": {"ward": ward}}}]
    said = {"role": "assistant", "content": "", "tool_calls": json.dumps(calls)}
    return [{"role": "user", "content": "Is a bed free?"}, said, {"role": role, "content": told}]


OTHERS = [{"ward": "Maternity"}, {"name": "rooms"}, {"role": "user"}, {"told": "2 beds"}]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_another_conversation_is_another_question(tmp_path, other):
    kept, one = KeptReplies(config_for(tmp_path)), Question(talk(), "Yes.", "No.")
    changed = one._replace(messages=talk(**other))
    assert messages("Shorter.", *one) != messages("Shorter.", *changed)
    assert kept.key(one) != kept.key(changed)


def test_what_a_judge_is_not_shown_makes_no_other_question(tmp_path):
    kept, one = KeptReplies(config_for(tmp_path)), Question(talk(), "Yes.", "No.")
    assert kept.key(one) == kept.key(one._replace(messages=talk(ids="2")))
    assert kept.key(one) != kept.key(Question(talk(), "No.", "Yes."))


def test_a_label_counts_for_its_own_conversation(tmp_path):
    config = config_for(tmp_path)
    keep_comparison(config, Pair(talk(), "Yes.", "No."), 1, "Ada", AT)
    rows = [{"messages": talk(name), "production": "Yes.", "candidate": "No."} for name in ("beds", "rooms")]
    assert labels_of(config, rows) == {0: 1.0}
    assert '"ward": "Surgery"' in "\n".join(_lines(talk(), ("Yes.", "No.")))  # what the person reads
