"""60 instructions of our own that a program can check, each with an answer that follows it.

Each asks for something as well as for a form of it, so that no text follows many of them whatever is asked.
They take turns by language, so that any first few are a mixture: English thrice, German, French, Spanish.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.evaluation.instructions.checks import (
    Check,
    begins_with,
    bullets,
    characters,
    comma_list,
    each_word_begins_with,
    ends_with,
    in_brackets,
    json_keys,
    json_texts,
    language,
    last_word,
    lines,
    lower,
    mentions,
    no_list,
    no_numbers,
    numbered,
    paragraphs,
    quoted,
    repeats,
    says,
    sentences,
    times,
    upper,
    without,
    words,
)


@dataclass(frozen=True)
class Instruction:
    """An answer follows it where all `checks` hold, as they do for `example`. `language`: of the prompt."""

    language: str
    prompt: str
    checks: tuple[Check, ...]
    example: str


def _en(prompt: str, example: str, *checks: Check) -> Instruction:
    return Instruction("en", prompt, checks, example)


def _de(prompt: str, example: str, *checks: Check) -> Instruction:
    return Instruction("de", prompt, checks, example)


def _fr(prompt: str, example: str, *checks: Check) -> Instruction:
    return Instruction("fr", prompt, checks, example)


def _es(prompt: str, example: str, *checks: Check) -> Instruction:
    return Instruction("es", prompt, checks, example)


ENGLISH = (
    _en(
        "Name the capital of Italy. Answer with a single word.",
        "Rome",
        says("Rome"),
    ),
    _en(
        "Write one sentence about the sea, with the word 'sea' in it, in at most 12 words.",
        "The sea is calm tonight.",
        mentions("sea"),
        sentences(1),
        words(3, 12),
    ),
    _en(
        "Which color does a ripe banana have? Answer in capital letters only.",
        "A RIPE BANANA IS YELLOW.",
        upper,
        mentions("yellow"),
    ),
    _en(
        "Ask me one question about music. Your whole answer is that question, and it contains 'music'.",
        "Which music do you like most?",
        ends_with("?"),
        sentences(1),
        mentions("music"),
    ),
    _en(
        "List exactly three fruits as bullet points. Each line begins with '- '. Write nothing else.",
        "- apple\n- pear\n- plum",
        bullets(3),
    ),
    _en(
        'Describe an invented person as JSON with the keys "name" and "age". Write nothing but the JSON.',
        '{"name": "Ada", "age": 36}',
        json_keys("name", "age"),
    ),
    _en(
        "Write one sentence about a cat, with the word 'cat', without the letter 'e' anywhere.",
        "A small cat sits in our dark barn.",
        mentions("cat"),
        without("e"),
        words(4),
    ),
    _en(
        "Count from one to five in words. Write one word a line, all in lower case, and nothing else.",
        "one\ntwo\nthree\nfour\nfive",
        says("one\ntwo\nthree\nfour\nfive"),
    ),
    _en(
        "Write two short paragraphs about dogs, with one blank line between them.",
        "Dogs are loyal.\n\nThey like to run.",
        paragraphs(2),
        mentions("dog", "dogs"),
    ),
    _en(
        "Answer in German, in one whole sentence: what do people say when they meet in the morning?",
        "Am Morgen sagen die Menschen guten Morgen.",
        language("de"),
        sentences(1),
        mentions("Morgen", "Hallo", "Tag"),
    ),
    _en(
        "Write one sentence in which the word 'blue' occurs exactly three times.",
        "The blue bird saw blue water under a blue sky.",
        times("blue", 3),
        sentences(1),
    ),
    _en(
        "Say what the sun is. Begin with the words 'The sun', and do not use a comma.",
        "The sun is a star that gives us light.",
        begins_with("The sun"),
        without(","),
        words(5),
    ),
    _en(
        "What is seven plus five? Answer with the number in digits and nothing else.",
        "12",
        says("12"),
    ),
    _en(
        "Invent the title of a story about a dragon. Write only the title, in double angle brackets, "
        "such as <<Title>>.",
        "<<The Dragon of the North>>",
        in_brackets,
        mentions("dragon", "dragons", "dragon's"),
    ),
    _en(
        "Name four animals on one line, separated by commas. Write nothing else.",
        "cat, dog, cow, horse",
        comma_list(4),
    ),
    _en(
        "Recommend going for a walk. Write exactly two sentences.",
        "Go for a walk today. Fresh air is good for you.",
        sentences(2),
        mentions("walk", "walks", "walking"),
    ),
    _en(
        "Write one sentence about winter, with the word 'winter', without any capital letter.",
        "in winter the lake is frozen.",
        lower,
        mentions("winter"),
        words(4),
    ),
    _en(
        "Repeat this sentence exactly, and add nothing: The train leaves at nine.",
        "The train leaves at nine.",
        repeats("The train leaves at nine."),
    ),
    _en(
        "List the colors red, green and blue, each on a line of its own, numbered 1., 2. and 3. "
        "Write nothing else.",
        "1. red\n2. green\n3. blue",
        numbered(3),
        mentions("red"),
        mentions("green"),
        mentions("blue"),
    ),
    _en(
        "What do bees make? Put your whole answer in double quotation marks.",
        '"Bees make honey."',
        quoted,
        mentions("honey"),
    ),
    _en(
        "Write one sentence about the moon. Its last word is 'night'.",
        "The moon shines in the night.",
        last_word("night"),
        sentences(1),
        mentions("moon"),
    ),
    _en(
        "Is ice warm? Answer with either 'yes' or 'no', in lower case, without a full stop.",
        "no",
        repeats("no"),
    ),
    _en(
        "Explain what rain is. Finish with exactly these words: Is there anything else?",
        "Rain is water that falls from clouds. Is there anything else?",
        ends_with("Is there anything else?"),
        mentions("rain"),
        words(8),
    ),
    _en(
        "Write a sentence of at least four words in which every word begins with the letter 's'.",
        "Seven silly snakes sleep soundly.",
        each_word_begins_with("s"),
        words(4),
    ),
    _en(
        "Name five countries, one on each line. Use no numbers and no bullet points.",
        "Chad\nPeru\nIndia\nNorway\nFiji",
        lines(5),
        no_list,
        no_numbers,
        words(5, 15),
    ),
    _en(
        "Name three things that people eat for breakfast, as a JSON list of three strings. Write nothing "
        "but the JSON.",
        '["bread", "eggs", "fruit"]',
        json_texts(3),
    ),
    _en(
        "Describe a forest in at least 25 words, without writing a list.",
        "The forest is old and quiet. Tall trees stand close together, and between them the light falls on "
        "soft moss, where small animals look for food.",
        words(25),
        mentions("forest", "forests", "woods", "trees"),
        no_list,
    ),
    _en(
        "Write about a river in fewer than 60 characters. Use the word 'river'.",
        "The river flows slowly to the sea.",
        characters(10, 59),
        mentions("river"),
    ),
    _en(
        "What is the opposite of 'hot'? Answer in the form 'Answer: ' and then a single word.",
        "Answer: cold",
        says("Answer: cold", "Answer: Cold"),
    ),
    _en(
        "Which day comes after Monday? Answer in one short sentence in lower case only.",
        "after monday comes tuesday.",
        lower,
        mentions("tuesday"),
        words(2, 12),
    ),
)

GERMAN = (
    _de(
        "Nenne die Hauptstadt von Frankreich. Antworte mit einem einzigen Wort.",
        "Paris",
        says("Paris"),
    ),
    _de(
        "Schreibe einen Satz mit dem Wort 'Regen' in höchstens zehn Wörtern.",
        "Der Regen fällt leise auf das Dach.",
        mentions("Regen"),
        sentences(1),
        words(3, 10),
    ),
    _de(
        "Welche Farbe hat frisches Gras? Antworte nur in Großbuchstaben.",
        "FRISCHES GRAS IST GRÜN.",
        upper,
        mentions("grün"),
    ),
    _de(
        "Nenne genau drei Getränke als Aufzählung. Jede Zeile beginnt mit '- '. Schreibe sonst nichts.",
        "- Wasser\n- Tee\n- Milch",
        bullets(3),
    ),
    _de(
        "Stelle mir eine Frage zum Wetter, in der das Wort 'Wetter' steht. Schreibe nur diese Frage.",
        "Wie wird das Wetter morgen?",
        ends_with("?"),
        sentences(1),
        mentions("Wetter"),
    ),
    _de(
        'Nenne eine Stadt und ihr Land als JSON mit Schlüsseln "stadt" und "land". Schreibe sonst nichts.',
        '{"stadt": "Bern", "land": "Schweiz"}',
        json_keys("stadt", "land"),
    ),
    _de(
        "Erkläre auf Deutsch in einem Satz, was ein Fahrrad ist. Benutze kein Komma.",
        "Ein Fahrrad ist ein Fahrzeug mit zwei Rädern und Pedalen.",
        language("de"),
        without(","),
        mentions("Fahrrad"),
    ),
    _de(
        "Zähle von eins bis vier, in Worten und in Kleinbuchstaben. Schreibe ein Wort pro Zeile und sonst "
        "nichts.",
        "eins\nzwei\ndrei\nvier",
        says("eins\nzwei\ndrei\nvier"),
    ),
    _de(
        "Antworte auf Englisch mit einem ganzen Satz: Was trinkt man zum Frühstück?",
        "People drink coffee or tea with their breakfast.",
        language("en"),
        sentences(1),
        mentions("breakfast", "coffee", "tea", "drink", "drinks"),
    ),
    _de(
        "Wie viele Tage hat eine Woche? Antworte nur mit einer Ziffer.",
        "7",
        says("7"),
    ),
)

FRENCH = (
    _fr(
        "Quelle est la capitale de l'Espagne ? Réponds par un seul mot.",
        "Madrid",
        says("Madrid"),
    ),
    _fr(
        "Écris une phrase sur la neige, avec le mot « neige », en douze mots au plus.",
        "La neige tombe doucement sur le village.",
        mentions("neige"),
        sentences(1),
        words(3, 12),
    ),
    _fr(
        "De quelle couleur est une tomate mûre ? Réponds en lettres majuscules uniquement.",
        "UNE TOMATE MÛRE EST ROUGE.",
        upper,
        mentions("rouge"),
    ),
    _fr(
        "Donne trois légumes, un par ligne, numérotés 1., 2. et 3. N'écris rien d'autre.",
        "1. carotte\n2. poireau\n3. navet",
        numbered(3),
    ),
    _fr(
        "Réponds en français par une phrase complète, sans virgule : à quoi sert un parapluie ?",
        "Un parapluie sert à se protéger de la pluie.",
        language("fr"),
        without(","),
        mentions("parapluie"),
    ),
    _fr(
        "Mets toute ta réponse entre guillemets : quel animal donne du lait dans une ferme ?",
        "« La vache donne du lait. »",
        quoted,
        mentions("vache", "chèvre", "brebis"),
    ),
    _fr(
        "Nomme quatre métiers sur une seule ligne, séparés par des virgules. N'écris rien d'autre.",
        "boulanger, médecin, maçon, avocat",
        comma_list(4),
    ),
    _fr(
        "Écris exactement deux phrases en français sur le café, avec le mot « café ».",
        "Le café est chaud. Je le bois sans sucre.",
        language("fr"),
        sentences(2),
        mentions("café"),
    ),
    _fr(
        "Combien font neuf moins quatre ? Réponds par le nombre en chiffres et rien d'autre.",
        "5",
        says("5"),
    ),
    _fr(
        "Répète cette phrase exactement, sans rien ajouter : Le musée ouvre à dix heures.",
        "Le musée ouvre à dix heures.",
        repeats("Le musée ouvre à dix heures."),
    ),
)

SPANISH = (
    _es(
        "¿Cuál es la capital de Portugal? Responde con una sola palabra.",
        "Lisboa",
        says("Lisboa"),
    ),
    _es(
        "Escribe una frase con la palabra 'sol' en diez palabras como máximo.",
        "El sol brilla sobre la montaña.",
        mentions("sol"),
        sentences(1),
        words(3, 10),
    ),
    _es(
        "¿De qué color es la leche? Responde solo en mayúsculas.",
        "LA LECHE ES BLANCA.",
        upper,
        mentions("blanco", "blanca"),
    ),
    _es(
        "Haz una lista de exactamente cuatro ciudades. Cada línea empieza con '- '. No escribas nada más.",
        "- Quito\n- Lima\n- Sevilla\n- Bogotá",
        bullets(4),
    ),
    _es(
        "Responde en español con una frase completa y sin comas: ¿para qué sirve una llave?",
        "Una llave sirve para abrir y cerrar una puerta.",
        language("es"),
        without(","),
        mentions("llave", "puerta", "puertas"),
    ),
    _es(
        'Describe un libro como JSON con las claves "titulo" y "autor". Escribe solo el JSON.',
        '{"titulo": "Niebla", "autor": "Unamuno"}',
        json_keys("titulo", "autor"),
    ),
    _es(
        "Explica qué es el hielo. Termina exactamente con estas palabras: ¿Algo más?",
        "El hielo es agua congelada. ¿Algo más?",
        ends_with("¿Algo más?"),
        mentions("hielo"),
        words(5),
    ),
    _es(
        "¿El fuego es frío? Responde 'sí' o 'no', en minúsculas y sin punto.",
        "no",
        repeats("no"),
    ),
    _es(
        "Escribe una frase sobre el verano, con la palabra 'verano', sin ninguna letra mayúscula.",
        "en verano hace mucho calor.",
        lower,
        mentions("verano"),
        words(4),
    ),
    _es(
        "Escribe tres colores, uno por línea, sin números ni viñetas. No escribas nada más.",
        "rojo\nverde\nazul",
        lines(3),
        no_list,
        no_numbers,
        words(3, 6),
    ),
)

INSTRUCTIONS = tuple(
    one
    for place in range(len(GERMAN))
    for one in (*ENGLISH[3 * place : 3 * place + 3], GERMAN[place], FRENCH[place], SPANISH[place])
)
