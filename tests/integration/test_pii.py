"""Personal data in several languages, and texts that hold none."""

import pytest

from pipelines.core.config import Curate
from pipelines.data.pii import Redactor, other_scripts

PEOPLE = [
    "Jürgen Müller, Hauptstraße 12, 50667 Köln, geb. 12.03.1971, hat Husten.",
    "Ich heiße Anna Schmidt und wohne in der Lindenstraße 5, geboren am 3. März 1980.",
    "Frau Dr. Weber klagt über Schmerzen. Ihre Steuer-ID ist 86095742719.",
    "Je m'appelle Élodie Dubois, numéro de sécurité sociale 2 85 05 78 006 084 36.",
    "Marie Lefèvre, née le 12 mai 1985, 14 rue de la Paix, 75002 Paris",
    "Mi DNI es 12345678Z y me llamo Carmen García López",
    "DNI 11111111X, calle Mayor 5, 28013 Madrid",
    "MRN 00123456, date of birth 03/04/1980",
    "Record number 4711-0815, born 1980-04-03, has a fever",
    "Mi chiamo Giuseppe Rossi, codice fiscale RSSGPP80A01H501U, via Roma 12, 00184 Roma",
    "PESEL 44051401359, Katarzyna Kowalska, ul. Długa 3",
    "NHS number 943 476 5919, 12 Oak Street, London",
    "Aadhaar 2345 6789 0124, or NRIC S1234567D, or TFN 876 543 210",
    "Jan de Vries, Kerkstraat 12, 1017 GC Amsterdam, BSN 123456782",
    "Meu nome é João da Silva, CPF 123.456.789-09, rua das Flores, 8",
    "Jag heter Erik Johansson, personnummer 19800312-1236, Storgatan 4",
    "Mette Hansen, 070761-4285",
]
TOLD = [
    "Müller", "Jürgen", "Haupt", "50667", "Köln", "1971", "Schmidt", "Linden", "März", "Weber", "86095",
    "Élodie", "Dubois", "006 084", "Lefèvre", "1985", "rue de", "Paris", "12345678", "Carmen", "López",
    "11111111", "Mayor", "28013", "00123456", "03/04", "4711", "1980", "Giuseppe", "RSSGPP", "Roma",
    "44051401359", "Kowalska", "Długa", "943 476", "Oak", "2345 6789", "S1234567D", "876 543", "Vries",
    "Kerk", "1017", "123456782", "Silva", "123.456", "Flores", "Johansson", "1236", "Storgatan", "Hansen",
    "070761",
]  # fmt: skip
HARMLESS = [
    "What is the dose of metformin on 12.01.2024?",
    "Der Patient hat Fieber und nimmt 500 mg Paracetamol.",
    "La paciente tiene fiebre desde el lunes.",
    "Le patient de 45 ans a de la fièvre.",
    "Il paziente ha la febbre via orale.",
    "Case 12 of the series, chart 3, shows CYP 3A4 via the liver.",
    "Marie Tooth disease, Virchow's triad and Coombs test",
    "Is the IgE level of 1234567 ng/ml in a patient with 2000 mg normal?",
]


@pytest.fixture(scope="module")
def redactor():
    settings = Curate()
    return Redactor(settings.redact_entities, settings.redact_score, settings.redact_languages)


def test_people_of_many_countries_are_replaced(redactor):
    clean, counts = redactor.redact(PEOPLE)
    assert [part for part in TOLD if any(part in text for text in clean)] == []
    kinds = {"PERSON", "STREET_ADDRESS", "DATE_OF_BIRTH", "RECORD_NUMBER", "NATIONAL_ID"}
    assert kinds <= counts.keys()


@pytest.mark.parametrize("text", HARMLESS)
def test_what_names_nobody_stays(redactor, text):
    assert redactor.redact([text])[0] == [text]


def test_a_language_that_is_not_chosen_is_not_looked_at():
    english = Redactor(Curate().redact_entities, Curate().redact_score, ("en",))
    assert english.redact(["PESEL 44051401359"])[0] != ["PESEL 44051401359"], "a cue counts in any language"
    assert english.redact(["Frau Weber hat Husten."])[0] == ["Frau Weber hat Husten."]


def test_scripts_that_nobody_reads_are_counted():
    texts = ["Иван Петров болен", "山田太郎です", "α-blocker in µg, 5 °C", "Jürgen", "محمد علي"]
    assert other_scripts(texts) == {"arabic": 1, "cjk": 1, "cyrillic": 1}
