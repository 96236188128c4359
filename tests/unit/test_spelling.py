"""When two texts are one answer, in any script, and what a conversation is known by all the same."""

import random
import unicodedata
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.core.config import Config
from pipelines.core.conversations import conversation_key, normalise
from pipelines.core.spelling import MOST_MARKS, answer_form, normal_form, numbers_apart
from pipelines.evaluation.instructions.checks import tidy
from pipelines.evaluation.scorers.words import words
from pipelines.evaluation.tasks import task_of
from pipelines.operations.inspect.texts import labels_of
from pipelines.stores.suites.answers import refusal

ONE_ANSWER = [
    ("外科", "外科。"), ("外科", "「外科」"), ("外科", "『外科』！"), ("外科", "（外科）"),
    ("外科", "【外科】"),
    ("सर्जरी", "सर्जरी।"), ("جراحة", "جراحة؟"), ("جراحة", "\u200fجراحة\u200f"), ("Sí", "¡Sí!"), ("Sí", "¿SÍ?"),
    ("Chirurgie", "„Chirurgie“"), ("Chirurgie", "« Chirurgie »"), ("Chirurgie", "“chirurgie”."),
    ("Chirurgie", "‚Chirurgie‘"), ("Chirurgie", "Chirurgie\u200b"), ("Chirurgie", "\ufeff Chirurgie"),
    ("Chirurgie", "{Chirurgie}"), ("ቀዶ", "ቀዶ።"), ("ခွဲ", "ခွဲ။"), ("հա", "հա։"),
    ("Chirurgie", "Ｃｈｉｒｕｒｇｉｅ"),
]  # fmt: skip
TWO_ANSWERS = [
    ("C", "C#"), ("C", "C++"), ("5", "-5"), ("5", "5%"), ("5", "$5"), ("a", "@a"), ("👍", "👎"), ("a", "a/"),
    ("102", "10²"), ("10", "10²"), ("x2", "x²"), ("31⁄2", "3½"), ("10-2", "10⁻²"), ("102", "10₂"),
    ("1012", "10½"), ("101", "10①"), ("23", "²3"),
    ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
     "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"),
]  # fmt: skip
MARKS = ["\u0301\u0316", "\u0f73", "\u0301\uff9e", "\u0344\u0316", "\u0f71\u0f73\u0301"]


@pytest.mark.parametrize(("plain", "written"), ONE_ANSWER)
def test_outer_punctuation_of_any_script_is_free(plain, written):
    assert answer_form(written) == answer_form(plain) != ""
    config = Config(profile="t", register={"name": "m"}, task={"labels": [plain, "Anatomy"]})
    assert task_of(config).read(written) == plain
    assert refusal(config.task, written) == ""


@pytest.mark.parametrize(("one", "other"), TWO_ANSWERS)
def test_other_signs_make_another_answer(one, other):
    assert answer_form(one) != answer_form(other)


def test_a_label_in_quotation_marks_is_that_label():
    rows = [{"correction": None, "completion": text} for _, text in ONE_ANSWER[:4] for _ in range(5)]
    rows += [{"correction": None, "completion": text} for text in ("内科", "内科。") for _ in range(10)]
    assert len(labels_of(rows)) == 2


@settings(derandomize=True)
@given(st.text())
def test_the_form_of_a_form_is_the_same(text):
    assert answer_form(answer_form(text)) == answer_form(text)


@pytest.mark.parametrize("text", ["H₂O", "²³⁵U", "log₁₀", "①", "½", "m.", "x²", "², ³"])
def test_only_a_digit_or_letter_before_parts_a_number(text):
    assert numbers_apart(text) == text.replace("x²", "x ²")


@pytest.mark.parametrize("marks", MARKS)
@pytest.mark.parametrize("read", [answer_form, normalise, words, tidy, partial(normal_form, "NFC")])
def test_a_heap_of_marks_is_read_at_once(read, marks):
    """Where each mark is compared with all before it, this takes many minutes."""
    assert read("a" + marks * 200_000)


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_ordinary_text_has_the_form_that_unicode_says(form):
    draw = random.Random(7)
    kinds = [
        (0x20, 0x250),
        (0x300, 0x370),
        (0x900, 0xE00),
        (0x1100, 0x1200),
        (0xAC00, 0xD7A4),
        (0xF900, 0xFFFE),
    ]
    for _ in range(3_000):
        letters = [chr(draw.randrange(*draw.choice(kinds))) for _ in range(draw.randrange(MOST_MARKS // 2))]
        text = "".join(letters)
        assert normal_form(form, text) == unicodedata.normalize(form, text)


def test_thirty_marks_on_one_letter_are_kept():
    text = "x" + "\u0316" * MOST_MARKS + " ok"
    assert normal_form("NFC", text) == text
    assert normal_form("NFC", text.replace(" ", "\u0316" * 9 + " ")) == text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("外科。", "730a8c9f070dd74d"),
        ("「外科」", "baf1b349d6067fd9"),
        ("¿Qué es 10²?", "3507e9f530e736f6"),
        ("« Chirurgie »", "3beef8a4014eec71"),
        ("Cafe\u0301?", "1f5020cec8c15ef6"),
    ],
)
def test_what_a_conversation_is_known_by_stays(text, key):
    """Kept items and the side of the holdout hang on these."""
    assert conversation_key([{"role": "user", "content": text}])[:16] == key
