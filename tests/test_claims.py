"""Claims: numbers, names, negations, whom a sentence is about, and who did it to whom."""

from __future__ import annotations

import pytest

from assistant.claims import Stated, disagreement, names_in, numbered_names

TELEGRAPH = Stated(
    "In 1895 Marconi sent signals over two kilometres, while Popov showed a receiver in Russia.",
    "History of radio",
    "Two inventors worked apart from each other.",
)
MODELS = Stated("GPT-3 has 175 billion parameters.", "Models", "")
UNKNOWN = Stated("The parameter count of GPT-4 is undisclosed.", "Models", "GPT-3 has 175 billion parameters.")


@pytest.mark.parametrize(
    ("claim", "disagrees_in"),
    [
        ("In 1895 Marconi sent signals over two kilometres.", ""),
        ("Marconi sent signals over 2 kilometres in 1895.", ""),
        ("In 1896 Marconi sent signals over two kilometres.", "number"),
        ("In 1895 Marconi sent signals over two kilometres to Ireland.", "name"),
        ("In 1895 Marconi did not send signals over two kilometres.", "negation"),
        ("The kettle and the teapot were sent over two kilometres in 1895.", "subject"),
        ("In 1895 Popov sent signals over two kilometres, while Marconi showed a receiver in Russia.", "places"),
        ("While Popov showed a receiver in Russia, Marconi sent signals.", ""),
        ("The inventors worked apart from each other.", ""),
        ("In 1895 Marconi was the first who sent signals over two kilometres.", "degree"),
    ],
)
def test_a_claim_must_agree_with_its_evidence(claim: str, disagrees_in: str) -> None:
    assert disagreement(claim, [TELEGRAPH]) == disagrees_in


@pytest.mark.parametrize(
    ("claim", "evidence", "disagrees_in"),
    [
        ("GPT-3 has 175 billion parameters.", [MODELS], ""),
        ("The GPT-3 LLM, an AI model, has 175 billion parameters.", [MODELS], ""),
        ("The GPT-3 model by IBM has 175 billion parameters.", [MODELS], "name"),
        ("GPT-4 has 175 billion parameters.", [UNKNOWN, MODELS], "number"),
        ("The parameter count of GPT-4 is not disclosed.", [Stated("It was never disclosed.", "GPT-4", "")], ""),
    ],
)
def test_evidence_of_two_sentences(claim: str, evidence: list[Stated], disagrees_in: str) -> None:
    assert disagreement(claim, evidence) == disagrees_in


STEUBEN = Stated("Friedrich von Steuben and Robert E. Lee did not meet at Valley Forge.", "War", "")


@pytest.mark.parametrize(
    ("claim", "disagrees_in"),
    [
        ("Steuben and Robert Lee did not meet at Valley Forge.", ""),
        ("At Valley Forge they did not meet.", ""),
        ("Friedrich Valley von Steuben did not meet Robert E. Lee at Forge.", "parts of a name"),
        ("Friedrich von Steuben and Robert E. Lee did meet at Valley Forge.", "negation"),
        ("Steuben was at Valley Forge.", ""),
    ],
)
def test_parts_of_names_and_what_is_denied(claim: str, disagrees_in: str) -> None:
    assert disagreement(claim, [STEUBEN]) == disagrees_in


def test_names_keep_their_places_in_other_words_too() -> None:
    evidence = [Stated("Thomas voiced young Simba, and Broderick was the speaking voice of adult Simba.", "Films", "")]
    assert disagreement("In the film, Broderick was the speaking voice of adult Simba.", evidence) == ""
    assert disagreement("Broderick and Thomas were voices of Simba.", evidence) == ""
    assert disagreement("The young Simba was voiced by Thomas.", evidence) == ""
    wrong = "Broderick voiced young Simba, and Thomas was the speaking voice of adult Simba."
    assert disagreement(wrong, evidence) == "places"


# what a small model made of these sentences, in answers to readers
@pytest.mark.parametrize(
    ("claim", "sentence", "disagrees_in"),
    [
        (
            "Mistral AI was founded by Mistral AI in September 2023 with open weights.",
            "Mistral 7B was released by Mistral AI in September 2023 with open weights.",
            "deed",
        ),
        ("Mistral 7B was released by Mistral AI in 2023.", "Mistral 7B was released by Mistral AI in 2023.", ""),
        (
            "The agent reached 38.1 per cent, which is a higher percentage than the 72 per cent of people.",
            "The agent reached 38.1 per cent, and people completed 72 per cent.",
            "degree",
        ),
        ("The report has more than 100 authors.", "The report has over 100 authors.", ""),
        (
            "Errors accumulate, and an agent completes only about 36 per cent of steps in about 36 per cent of cases.",
            "Errors accumulate: an agent completes 20 steps in only about 36 per cent of cases.",
            "number",
        ),
        (
            "Images used 2.907 kilowatt-hours per 1,000 requests, and text used 0.047 watts.",
            "Images used 2.907 kilowatt-hours per 1,000 requests, and text used 0.047.",
            "number",
        ),
        ("Sharks are 9.7 meters (31.82 feet) long.", "Sharks are 9.7\xa0m (31.82\xa0ft) long.", ""),
        (
            "A foundation model is the current period of AI.",
            "The foundation model era is the current period of AI.",
            "definition",
        ),
        ("Xhosa is a Bantu language.", "The Xhosa language is a Bantu language.", ""),
        ("BERT is a language model.", "BERT, which Google published in 2018, is a language model.", ""),
        ("BERT is a language model.", "BERT (2018) by Google is a language model.", ""),
        (
            "A single foundation model can handle text and images.",
            "All Claude models handle text and images.",
            "subject",
        ),
    ],
)
def test_what_small_models_made_of_their_evidence(claim: str, sentence: str, disagrees_in: str) -> None:
    assert disagreement(claim, [Stated(sentence, "Types of foundation models", "")]) == disagrees_in


SMALL = [
    Stated("A small budget calls for a smaller, specialised AI model.", "Types of foundation models", ""),
    Stated("Secrets call for an AI model that can run on one's own hardware.", "Types of foundation models", ""),
]
GLOSSARY = Stated("This glossary explains foundation models, large language models (LLMs) and AI.", "Terms", "")
PALM = Stated("In 2022 Google trained PaLM, a language model of 540 billion parameters.", "Models", "")
PEAK = Stated("Its peak is the highest point in the state of Hawaii.", "Mountains: Mauna Kea", "")
IT = Stated("It is a neural network for language.", "Transformer", "")


@pytest.mark.parametrize(
    ("claim", "evidence", "disagrees_in"),
    [
        ("A foundation model is a smaller, specialised AI model for one's own hardware.", SMALL, "definition"),
        ("A foundation model is a large language model (LLM) and AI.", [GLOSSARY], "definition"),
        ("A foundation model is a large language model (LLM) in this glossary.", [GLOSSARY], "definition"),
        ("Mauna Kea is the highest peak in the state of Hawaii.", [PEAK], ""),
        ("PaLM is a language model by Google.", [PALM], ""),
        ("A transformer is a neural network for language.", [IT], ""),
        ("It is a neural network for language.", [IT], ""),
        ("You are a neural network for language.", [Stated("Is a neural network for language.", "", "")], ""),
    ],
)
def test_what_a_thing_is_said_to_be_a_sentence_about_it_says(
    claim: str, evidence: list[Stated], disagrees_in: str
) -> None:
    assert disagreement(claim, evidence) == disagrees_in


def test_a_name_at_the_beginning_is_one_where_it_is_known_to_be() -> None:
    evidence = [Stated("GPT-4, a general model, was trained on text and images.", "Models", "")]
    assert disagreement("Anthropic trained GPT-4.", evidence) == ""
    names = names_in("Did Anthropic’s people train GPT-4?")
    assert names == {"anthropic", "gpt-4"}
    assert disagreement("Anthropic trained GPT-4.", evidence, names=names) == "name"
    assert disagreement("Anthropic's model is GPT-4.", evidence, names=names) == "name"


def test_what_is_denied_is_the_same_thing() -> None:
    evidence = [
        Stated(
            "The title is not known to many, but the slow and sad ballad was recorded by Elvis in 1960.", "Songs", ""
        )
    ]
    assert disagreement("The title is not known.", evidence) == ""
    assert disagreement("The ballad was not recorded by Elvis in 1960.", evidence) == "negation"


def test_a_subject_may_come_from_the_question_that_the_evidence_answers() -> None:
    evidence = [Stated("AI models made for programmers include Codex and StarCoder.", "Code models", "")]
    claim = "The popular tools specially for writing software are Codex and StarCoder."
    assert disagreement(claim, evidence) == "subject"
    assert disagreement(claim, evidence, "What are popular tools specially for writing software?") == ""


def test_he_is_nobody_where_the_evidence_speaks_of_a_firm() -> None:
    firm = Stated("Mistral AI released Mistral 7B in September 2023 with open weights.", "Mistral AI", "")
    person = Stated("It won him the Turing Award of 2018.", "Yoshua Bengio", "Bengio founded Mila.")
    assert disagreement("He released Mistral 7B in September 2023.", [firm]) == "subject"
    assert not disagreement("They released Mistral 7B in September 2023.", [firm])
    assert not disagreement("The Turing Award of 2018 was given to him.", [person])


def test_what_is_defined_must_be_what_the_evidence_defines() -> None:
    few = Stated("Few-shot learning means that a model does a task after seeing a few examples.", "Learning", "")
    asked = "What does zero-shot learning mean?"
    zero = "Zero-shot learning means that a model does a task after seeing a few examples."
    assert disagreement(zero, [few], asked) == "subject", "a subject that the question names will not do"
    assert not disagreement(zero.replace("Zero", "Few"), [few], asked)
    assert disagreement("Zero-shot learning means doing a task after seeing a few examples.", [few], asked) == "subject"
    short = Stated("A large language model (LLM) is trained on text.", "Language models", "")
    assert not disagreement("An LLM stands for a large language model.", [short], asked)


def test_names_that_carry_numbers_are_told_apart() -> None:
    assert numbered_names("GPT-4, DINOv2 and Llama 3.1 of 2024 (T5, Qwen2.5-Coder).") == {
        "gpt-4",
        "dinov2",
        "t5",
        "qwen2.5-coder",
    }
