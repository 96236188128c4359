"""The groups that fairness judges, from the packaged sets and from suites of many shapes."""

import pytest

from pipelines.core.config import Config, Fairness, load_config
from pipelines.evaluation.judged_groups import (
    EVERY,
    NONSENSE,
    SUITE,
    drawn_suite,
    judged_groups,
    plan_of,
    stereotype_items,
)
from pipelines.sample.questions import sample_plan, suite_rows


def suite(count, **values):
    """Items that take the values of each slice in turn."""
    given = {"subject": ["a"], "tenant": ["all"], "locale": ["all"], "channel": ["all"]} | values
    return [{name: of[i % len(of)] for name, of in given.items()} for i in range(count)]


@pytest.fixture(scope="module")
def items():
    return stereotype_items(Config(profile="x", fairness=Fairness(stereotype_items=400, passage_items=80)))


def test_groups_of_the_packaged_sets_are_judged_by_themselves(items):
    found = judged_groups(Fairness(), items, [])
    sizes = {key: len(places) for key, places in found.stereotypes.items()}
    assert found.smallest == 35
    assert min(sizes.values()) >= 35
    assert found.joined == {("CrowS-Pairs", ""): ["disability"]}, "31 items are all there are"
    assert {of for of, _ in sizes} == {"CrowS-Pairs", "StereoSet", "WinoBias", "BBQ"}
    assert sum(of == "CrowS-Pairs" for of, _ in sizes) == 9
    assert [group for of, group in sizes if of == "WinoBias"] == [EVERY]
    assert sizes["StereoSet", NONSENSE] == sizes["StereoSet", EVERY] == 400
    assert ("BBQ", EVERY) not in sizes
    assert found.slices == {}


def test_few_items_of_a_set_are_judged_in_the_whole(items):
    few = {name: found[:20] for name, found in items.items()}
    found = judged_groups(Fairness(), few, [])
    assert [group for of, group in found.stereotypes if of == "CrowS-Pairs"] == [EVERY]
    plan = plan_of(Fairness(), found)
    assert ("CrowS-Pairs", "age") in plan.in_the_whole_only
    assert all(group.n < plan.smallest_group for group in plan.groups)


def test_a_slice_with_one_value_is_the_whole(items):
    found = judged_groups(Fairness(), items, suite(100))
    assert list(found.slices) == [SUITE]
    assert {of for of, _ in found.joined} == {"CrowS-Pairs"}


def test_small_values_are_pooled_and_named(items):
    asked = suite(400, tenant=["large"] * 15 + [f"t{i}" for i in range(5)])
    found = judged_groups(Fairness(), items, asked)
    plan = plan_of(Fairness(), found)
    sizes = {(one.of, one.group): (one.n, one.joins) for one in plan.groups}
    assert sizes[SUITE] == (400, ())
    assert sizes["tenant", "large"] == (300, ())
    assert sizes["tenant", "the smaller ones"] == (100, ("t0", "t1", "t2", "t3", "t4"))
    assert all(asked[place]["tenant"] != "large" for place in found.slices["tenant", "the smaller ones"])


def test_a_thousand_tenants_are_one_group(items):
    asked = suite(3000, tenant=[f"t{i}" for i in range(1000)])
    found = judged_groups(Fairness(), items, asked)
    assert list(found.slices) == [SUITE]
    assert len(found.joined["tenant", ""]) == 1000


def test_a_margin_above_the_large_harm_is_the_large_harm(items):
    wide = Fairness(margin=0.4)
    assert plan_of(wide, judged_groups(wide, items, [])).large_harm == 0.4


def test_the_suite_is_drawn_only_where_it_is_larger():
    asked = suite(50)
    assert drawn_suite(Config(profile="x"), asked) == asked
    assert len(drawn_suite(Config(profile="x", fairness=Fairness(slice_items=20)), asked)) == 20


def test_all_groups_of_the_sample_are_judged_by_themselves(home):
    config = load_config("config/demo.toml", home)
    asked = suite_rows(sample_plan(config), config)
    found = judged_groups(config.fairness, stereotype_items(config), asked)
    counted = plan_of(config.fairness, found)
    assert found.joined == {}
    assert min(group.n for group in counted.groups) >= counted.smallest_group == 22
    assert max(group.finds for group in counted.groups) <= 0.6
