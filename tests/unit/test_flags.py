"""Copies, bursts and sudden agreement are seen; nights like the others seldom raise a flag."""

import numpy as np

from pipelines.policy.night.flags import MOST_FLAGS, NightCounts, Said, agreements, bursts, copies

WORDS = [f"w{chr(97 + i)}{chr(97 + j)}" for i in range(20) for j in range(20)]
LABELS = ("Dental", "Medicine", "Surgery")


def rows_of(rng, people, rows, name="p"):
    """Questions of eight words, some of them frequent, with an answer that has nothing to do with them."""
    chances = 1 / np.arange(1, len(WORDS) + 1)
    chances /= chances.sum()
    return [
        Said(
            f"{name}{rng.integers(people)}",
            " ".join(rng.choice(WORDS, 8, p=chances)),
            str(rng.choice(LABELS)),
        )
        for _ in range(rows)
    ]


def night_of(rng, rows, chances):
    """A night of one tenant's people, and of three others' who give less."""
    counts = rng.multinomial(rows, chances)
    tenants = counts.reshape(4, -1).sum(axis=1)
    largest = int(tenants.argmax())
    return NightCounts(
        rows, int((counts > 0).sum()), int(counts.max()), 4, str(largest), int(tenants[largest])
    )


def test_one_script_is_a_burst():
    rng = np.random.default_rng(0)
    usual = [night_of(rng, 60, np.full(40, 1 / 40)) for _ in range(10)]
    (flag,) = bursts(NightCounts(100, 30, 50, 4, "0", 50), usual)
    assert (flag.kind, flag.rows) == ("burst", 50)
    assert flag.words.startswith(
        "one person gave 50% of the night's labelled rows, on earlier nights at most"
    )
    (flag,) = bursts(NightCounts(200, 30, 8, 4, "pushes", 190), usual)
    assert flag.words.startswith("the tenant pushes gave 95%")


def test_bursts_need_something_to_compare_with():
    script = NightCounts(100, 30, 60, 4, "0", 60)
    usual = NightCounts(60, 30, 5, 4, "0", 20)
    assert bursts(script, [usual] * 6) == []
    assert bursts(script, [usual._replace(rows=19)] * 30) == []
    assert bursts(script._replace(rows=19, of_person=19), [usual] * 30) == []
    assert bursts(NightCounts(100, 1, 100, 1, "0", 100), [NightCounts(60, 1, 60, 1, "0", 60)] * 9) == []


def test_nights_like_the_others_are_no_burst():
    """People who differ, and nights of 30 to 200 rows: at most 2% of nights raise a flag."""
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(400):
        chances = rng.dirichlet(np.full(40, 0.7))
        nights = [night_of(rng, int(rng.integers(30, 200)), chances) for _ in range(15)]
        alarms += bool(bursts(nights[0], nights[1:]))
    assert alarms <= 8


def test_twenty_accounts_that_copy_a_text_are_seen():
    rng = np.random.default_rng(2)
    copied = [Said(f"bot{i}", f"My order {i} of wax never came, who helps?", "Dental") for i in range(20)]
    (flag,) = copies([*rows_of(rng, 40, 150), *copied])
    assert (flag.kind, flag.rows) == ("copies", 20)
    assert flag.words == "20 people gave one answer to copies of one text"
    assert copies([one._replace(person="bot") for one in copied]) == [], "one person is no crowd"
    assert copies([Said(f"p{i}", f"{i}", "Dental") for i in range(9)]) == [], "numbers alone are no text"


def test_a_new_phrase_with_one_answer_is_seen():
    rng = np.random.default_rng(3)
    before, now = rows_of(rng, 60, 400), rows_of(rng, 40, 150)
    planted = [row._replace(person=f"bot{i}", text=f"{row.text} blue elixir", answer="Dental")
               for i, row in enumerate(rows_of(rng, 1, 12))]  # fmt: skip
    (flag,) = agreements([*now, *planted], before)
    assert (flag.kind, flag.rows) == ("agreement", 12)
    assert "elixir" not in flag.words
    assert agreements([*now, *planted], [*before, *planted]) == [], "it is not new"
    mixed = [row._replace(answer=LABELS[i % 3]) for i, row in enumerate(planted)]
    assert agreements([*now, *mixed], before) == [], "they do not agree"
    assert agreements([*now, *planted], before[:10]) == [], "where few asked before, any phrase is new"


def test_nights_like_the_others_seldom_agree():
    rng = np.random.default_rng(4)
    worlds = [agreements(rows_of(rng, 60, 120), rows_of(rng, 100, 300)) for _ in range(40)]
    assert sum(map(bool, worlds)) <= 2


def test_flags_of_a_kind_are_few():
    rows = [Said(f"p{i}", f"text {chr(97 + kind)}", "Dental") for kind in range(9) for i in range(5)]
    assert len(copies(rows)) == MOST_FLAGS
    assert copies([]) == agreements([], []) == []
