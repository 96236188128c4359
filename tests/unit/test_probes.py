"""What an engine serves, told by its answers to probes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.probes import Answer, Probe, Step, make_step
from pipelines.policy.probes import Served, by_distance, compare, compare_texts, distance
from tests.support.fuzz import examples

WORDS = [f"word{number}" for number in range(30)]
values = st.floats(-30, 0)
tops = st.dictionaries(st.sampled_from(WORDS), values, min_size=5, max_size=20)
steps = st.builds(lambda top: Step(token=max(top, key=lambda one: (top[one], one)), top=top), tops)


def step(shift=0.0, first=0, token=None):
    """Twenty tokens, each half as likely as the one before it, beginning at another word."""
    top = {WORDS[(first + place) % 30]: -0.7 * (place + 1) + shift * (-1) ** place for place in range(20)}
    return Step(token=token or WORDS[first], top=top)


def answer(*its_steps, text="an answer"):
    return Answer(text=text, steps=its_steps)


def probe(adapter, base):
    return Probe(messages=({"role": "user", "content": "Why?"},), adapter=adapter, base=base)


PROBES = [probe(answer(step(first=number)), answer(step(first=number + 7))) for number in range(8)]
ADAPTERS, BASES = ([getattr(one, name) for one in PROBES] for name in ("adapter", "base"))


def test_the_adapter_itself_is_recognised():
    found = compare(PROBES, ADAPTERS, 0.25)
    assert (found.served, found.from_adapter, found.from_base) == (Served.ADAPTER, 0.0, 1.0)


def test_the_base_under_its_name_is_recognised():
    found = compare(PROBES, BASES, 0.25)
    assert (found.served, found.from_adapter, found.from_base) == (Served.BASE, 1.0, 0.0)


def test_one_wrong_answer_is_enough():
    for wrong in range(8):
        seen = [answer(step(first=19)) if place == wrong else right for place, right in enumerate(ADAPTERS)]
        assert compare(PROBES, seen, 0.25).served is Served.OTHER


@pytest.mark.parametrize(("noise", "served"), [(0.1, Served.ADAPTER), (3.0, Served.OTHER)])
def test_noise_is_no_other_adapter(noise, served):
    seen = [answer(step(noise, number)) for number in range(8)]
    assert compare(PROBES, seen, 0.25).served is served


def test_without_log_probabilities_nothing_is_told():
    few = answer(Step(token="a", top={"a": -0.1, "b": -3.0}))
    for odd in (answer(), few):
        assert compare(PROBES, [odd] * 8, 0.25).served is Served.UNKNOWN
    assert compare([], [], 0.25).served is Served.UNKNOWN


def test_a_server_that_gives_fewer_is_compared_on_those():
    seen = [
        answer(Step(token=one.steps[0].token, top=dict(list(one.steps[0].top.items())[:5])))
        for one in ADAPTERS
    ]
    assert compare(PROBES, seen, 0.25).served is Served.ADAPTER
    assert compare(PROBES, seen[1:] + seen[:1], 0.25).served is not Served.ADAPTER


def test_answers_are_compared_while_they_are_the_same():
    ours = (step(token="a"), step(token="b"), step(token="c"))
    theirs = (step(token="a"), step(token="x"), step(first=9, token="c"))
    assert distance(ours, theirs) == 0.0
    assert distance(ours, (step(token="a"), step(token="b"), theirs[2])) > 0.3


def test_a_longer_answer_changes_nothing():
    assert distance((step(token="a"),), (step(token="a"), step(first=9))) == 0.0


@settings(max_examples=examples())
@given(steps, steps)
def test_distances_are_distances(one, other):
    there, back = distance([one], [other]), distance([other], [one])
    assert there == pytest.approx(back)
    assert there >= 0
    assert distance([one], [one]) == 0.0


def test_the_farthest_comes_first():
    near = probe(answer(step()), answer(step(0.1)))
    far = probe(answer(step()), answer(step(first=15)))
    none = probe(answer(), answer(step()))
    found = by_distance([near, none, far])
    assert [one for _, one in found] == [far, near]
    assert found[0][0] > found[1][0] > 0


TOLD = [probe(answer(text=f"Ward {n}"), answer(text=f"the base {n}")) for n in range(8)]
SAYS = {
    "the adapter": ([one.adapter.text for one in TOLD], Served.ADAPTER),
    "case and stops": ([f" ward {n}." for n in range(8)], Served.ADAPTER),
    "one near tie": (["Ward 9", *[one.adapter.text for one in TOLD][1:]], Served.ADAPTER),
    "the base": ([one.base.text for one in TOLD], Served.BASE),
    "another": ([f"Desk {n}" for n in range(8)], Served.OTHER),
    "half of each": (["Ward 0", "Ward 1", "Ward 2", "Ward 3", *["x"] * 4], Served.OTHER),
}


@pytest.mark.parametrize("name", SAYS)
def test_texts_alone_tell_less(name):
    texts, served = SAYS[name]
    assert compare_texts(TOLD, [answer(text=text) for text in texts]).served is served


def test_equal_texts_tell_nothing():
    same = [probe(answer(text="Ward"), answer(text="ward"))] * 8
    assert compare_texts(same, [answer(text="ward")] * 8).served is Served.UNKNOWN


def test_tokens_that_differ_in_white_space_are_one():
    made = make_step("\u2581Ward", [("\u2581Ward", math.log(0.5)), ("Ward", math.log(0.25)), (" ", -9999.0)])
    assert made.token == "Ward"
    assert made.top == {"Ward": pytest.approx(math.log(0.75), abs=1e-4), " ": -30.0}
